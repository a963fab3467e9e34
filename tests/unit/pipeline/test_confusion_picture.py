from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from sightloop.pipeline.confusion_picture import draw_confusion
from sightloop.vision.confusion import Confusion

CONFUSION = Confusion(("pit", "spot"), np.array([[5, 1, 0], [0, 3, 2], [1, 0, 0]]))


def test_picture_is_a_png(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra `registry`)")
    assert draw_confusion(tmp_path / "matrix.png", CONFUSION, score=0.25, iou=0.5)
    assert (tmp_path / "matrix.png").read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert not draw_confusion(tmp_path / "matrix.png", CONFUSION, score=0.25, iou=0.5)
    assert list(tmp_path.iterdir()) == []
