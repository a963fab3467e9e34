from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from sightloop.pipeline.evaluation_page import (
    EvaluationFacts,
    WorstFrame,
    render_evaluation,
    sentences_shown,
)
from sightloop.pipeline.slice_figures import SliceFigures
from sightloop.vision.average_precision import RECALL_GRID, ApReport, PrecisionCurve
from sightloop.vision.confusion import OTHERS, Confusion
from sightloop.vision.mistakes import Kind

CURVE = PrecisionCurve(recall=RECALL_GRID, precision=(1.0,) * len(RECALL_GRID))
FACTS = EvaluationFacts(
    report=ApReport(0.75, 0.5, (0.9, 0.6), (0.6, 0.4), (CURVE, CURVE), (6, 5)),
    classes=("pit <x>", "spot"),
    confusion=Confusion(("pit <x>", "spot"), np.array([[5, 1, 0], [0, 3, 2], [1, 0, 0]])),
    slices=(
        SliceFigures("all", 8, 11, 8, 10, 0.75),
        SliceFigures("light=dark", 2, 4, 1, 1, 0.3),
        SliceFigures("size=large", 8, 0, 0, 0, None),
    ),
    mistakes={Kind.MISSED: 2, Kind.FALSE: 1, Kind.WRONG_CLASS: 1},
    worst=(WorstFrame("images/test/a.jpg", b"picture", ("missed spot: no spot near",)),),
    images=8,
    score=0.25,
    iou=0.5,
    cpu_ms_p50=3.0,
)


def _cells(page: str) -> list[str]:
    return re.findall(r'<td class="(?:right|wrong)"[^>]*>(\d*)</td>', page)


def test_page_shows_figures_matrix_slices_and_worst_frames() -> None:
    page = render_evaluation(FACTS)
    assert "0.750" in page
    assert _cells(page) == ["5", "1", "", "", "3", "2", "1", ""]
    assert "light=dark" in page
    assert "missed spot: no spot near" in page
    assert "cGljdHVyZQ==" in page
    assert "a score above 0.25 and an overlap of IoU 0.5" in page


def test_page_loads_nothing_and_runs_nothing() -> None:
    page = render_evaluation(FACTS)
    assert "<script" not in page
    assert not re.search(r'(?:src|href)="(?!data:)', page)
    assert "http" not in page


def test_names_are_escaped() -> None:
    assert "<x>" not in render_evaluation(FACTS)


def test_slices_without_boxes_are_left_out() -> None:
    assert "size=large" not in render_evaluation(FACTS)


def test_grouped_classes_are_said_to_be_grouped() -> None:
    grouped = Confusion(("spot", OTHERS), FACTS.confusion.counts)
    assert "counted as one" in render_evaluation(replace(FACTS, confusion=grouped))
    assert "counted as one" not in render_evaluation(FACTS)


def test_without_mistakes_the_page_says_so() -> None:
    assert "Not one mistake" in render_evaluation(replace(FACTS, worst=()))


@pytest.mark.parametrize(("count", "last"), [(3, "2"), (4, "and 2 more")])
def test_long_lists_end_with_how_many_more(count: int, last: str) -> None:
    assert sentences_shown([str(one) for one in range(count)], count=3)[-1] == last
