from __future__ import annotations

import pytest

from sightloop.pipeline.training.ultralytics_trainer import has_bfloat16


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
