from __future__ import annotations

from pathlib import Path

import pytest

from sightloop.pipeline.training.torch_state import has_bfloat16, read_state, save_state


@pytest.mark.parametrize(
    ("device", "there", "supported", "mixed"),
    [
        ("cpu", True, True, False),
        ("0", True, True, True),
        ("0", True, False, False),
        ("0", False, True, False),
    ],
)
def test_mixed_precision_is_for_gpus_that_have_bfloat16(
    monkeypatch: pytest.MonkeyPatch, device: str, there: bool, supported: bool, mixed: bool
) -> None:
    torch = pytest.importorskip("torch", reason="needs torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: supported)
    assert has_bfloat16(device) is mixed


def test_state_survives_the_file_and_damage_counts_as_none(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="needs torch")
    path = tmp_path / "state.pt"
    save_state(path, {"tensor": torch.arange(3), "log": {"epochs": [1.5], "text": "x"}})
    state = read_state(path)
    assert state is not None
    assert state["tensor"].tolist() == [0, 1, 2]
    assert state["log"] == {"epochs": [1.5], "text": "x"}
    path.write_bytes(path.read_bytes()[:-40])
    assert read_state(path) is None
    path.write_text("no archive")
    assert read_state(path) is None
    assert read_state(tmp_path / "absent.pt") is None


def test_reading_a_state_runs_no_code(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="needs torch")
    torch.save({"thing": Path("/")}, tmp_path / "state.pt")  # a class that would have to be called
    assert read_state(tmp_path / "state.pt") is None
