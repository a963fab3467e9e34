from __future__ import annotations

import json
from pathlib import Path

import pytest

from sightloop.errors import ModelContractError
from sightloop.pipeline.exported_model import contract_of, read_exported, write_contract
from sightloop.pipeline.training.trainer import NetworkContract

NETWORK = NetworkContract("images", "output0", (1, 6, 189), 96, ("pit", "spot"))


def test_contract_survives_the_file(tmp_path: Path) -> None:
    write_contract(tmp_path, contract_of(NETWORK))
    exported = read_exported(tmp_path)
    assert exported.contract == contract_of(NETWORK)
    assert exported.model == tmp_path / "model.onnx"


def test_contract_is_letterboxed_in_and_raw_out() -> None:
    contract = contract_of(NETWORK)
    assert contract.input.shape == (1, 3, 96, 96)
    assert contract.preprocess.kind == "letterbox"
    assert contract.output.layout == "raw"
    assert contract.output.shape == (1, 6, 189)


@pytest.mark.parametrize("text", [None, "{", "{}", '{"more": 1}'])
def test_missing_or_malformed_contract_is_refused(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "contract.json").write_text(text)
    with pytest.raises(ModelContractError):
        read_exported(tmp_path)


def test_unknown_key_in_the_contract_is_refused(tmp_path: Path) -> None:
    write_contract(tmp_path, contract_of(NETWORK))
    path = tmp_path / "contract.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"more": 1}))
    with pytest.raises(ModelContractError):
        read_exported(tmp_path)
