from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from sightloop.errors import ModelContractError
from sightloop.pipeline.exported_model import read_exported
from sightloop.pipeline.steps.export import export_with
from sightloop.pipeline.training.trainer import NetworkContract
from sightloop.testing.fake_trainer import FakeTrainer
from sightloop.testing.step_chain import SIDE_PX, StepChain


@dataclass(frozen=True)
class Lying(FakeTrainer):
    """States another contract than its file has."""

    classes: tuple[str, ...] = ("pit", "spot")
    output_name: str = "output0"

    def export(self, checkpoint: Path, output: Path, *, side_px: int) -> NetworkContract:
        stated = FakeTrainer.export(self, checkpoint, output, side_px=side_px)
        return replace(stated, classes=self.classes, output_name=self.output_name)


@pytest.fixture
def chain(tmp_path: Path) -> StepChain:
    chain = StepChain(tmp_path)
    chain.dataset()
    chain.train()
    return chain


def test_model_lies_beside_its_contract(chain: StepChain) -> None:
    chain.export()
    exported = read_exported(chain.out("model"))
    assert exported.model.is_file()
    assert exported.contract.classes == ("pit", "spot")
    assert exported.contract.preprocess.side_px == SIDE_PX
    assert exported.contract.output.layout == "raw"


@pytest.mark.parametrize(
    "liar", [Lying(classes=("spot", "pit")), Lying(output_name="other")], ids=["classes", "names"]
)
def test_file_that_differs_from_what_is_stated_is_refused(chain: StepChain, liar: Lying) -> None:
    context = chain.context(("training",), ("model",), {"side_px": SIDE_PX})
    with pytest.raises(ModelContractError):
        export_with(context, liar)
    assert not (chain.out("model") / "contract.json").exists()
