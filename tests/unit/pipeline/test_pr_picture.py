from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from sightloop.pipeline.pr_picture import draw_pr_curves
from sightloop.vision.average_precision import RECALL_GRID, ApReport, PrecisionCurve

CURVE = PrecisionCurve(recall=RECALL_GRID, precision=(1.0,) * len(RECALL_GRID))
REPORT = ApReport(1.0, 1.0, (1.0, None), (1.0, None), (CURVE, None), (3, 0))
NOTHING = ApReport(None, None, (None, None), (None, None), (None, None), (0, 0))


@pytest.mark.parametrize("report", [REPORT, NOTHING], ids=["some", "nothing"])
def test_picture_is_a_png(tmp_path: Path, report: ApReport) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra `registry`)")
    assert draw_pr_curves(tmp_path / "pr.png", report, ("pit", "spot"))
    assert (tmp_path / "pr.png").read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert not draw_pr_curves(tmp_path / "pr.png", REPORT, ("pit", "spot"))
    assert list(tmp_path.iterdir()) == []
