from __future__ import annotations

import time

import numpy as np
import pytest

from sightloop.testing.coco_oracle import CLASSES, drawn_set, oracle_precision
from sightloop.vision.average_precision import evaluate
from sightloop.vision.detections import Detections, Labels, no_detections


@pytest.mark.parametrize("seed", [0, 1])
def test_figures_are_those_of_pycocotools(seed: int) -> None:
    labels, found = drawn_set(seed, 60)
    report = evaluate(labels, found, CLASSES)
    oracle = oracle_precision(labels, found)
    for index in range(4):
        assert report.ap50[index] == pytest.approx(oracle[0, :, index].mean(), abs=1e-4)
        assert report.ap50_95[index] == pytest.approx(oracle[:, :, index].mean(), abs=1e-4)
        curve = report.curves[index]
        assert curve is not None
        assert curve.precision == pytest.approx(oracle[0, :, index], abs=1e-4)
    assert report.map50 == pytest.approx(oracle[0, :, :4].mean(), abs=1e-4)
    assert report.map50_95 == pytest.approx(oracle[:, :, :4].mean(), abs=1e-4)


def test_class_without_labels_has_no_figure_and_does_not_count() -> None:
    report = evaluate(*drawn_set(2, 40), CLASSES)
    assert report.ap50[4] is None
    assert report.ap50_95[4] is None
    assert report.curves[4] is None
    assert report.label_counts[4] == 0
    known = [value for value in report.ap50 if value is not None]
    assert report.map50 == pytest.approx(sum(known) / 4)


def test_labels_themselves_score_one() -> None:
    labels, _ = drawn_set(3, 20)
    perfect = [
        Detections(part.boxes, np.full(len(part), 0.9, np.float32), part.classes) for part in labels
    ]
    report = evaluate(labels, perfect, CLASSES)
    assert report.map50 == pytest.approx(1.0)
    assert report.map50_95 == pytest.approx(1.0)
    assert sum(report.label_counts) == sum(len(part) for part in labels)


def test_finding_nothing_scores_zero() -> None:
    labels, _ = drawn_set(4, 10)
    report = evaluate(labels, [no_detections()] * 10, CLASSES)
    assert report.map50 == 0.0
    assert report.ap50[:4] == (0.0,) * 4


def test_set_without_labels_has_no_figures() -> None:
    nothing = Labels(np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    report = evaluate([nothing], [drawn_set(0, 3)[1][0]], CLASSES)
    assert report.map50 is None
    assert report.map50_95 is None
    assert report.ap50 == (None,) * CLASSES
    assert evaluate([], [], 2).map50 is None


def test_frames_that_do_not_pair_up_are_refused() -> None:
    labels, found = drawn_set(0, 3)
    with pytest.raises(ValueError, match="as many as labels"):
        evaluate(labels, found[:2], CLASSES)
    with pytest.raises(ValueError, match="expected classes 0 to 1"):
        evaluate(labels, found, 2)


def test_nothing_is_printed_and_it_is_the_same_twice(capsys: pytest.CaptureFixture[str]) -> None:
    labels, found = drawn_set(5, 30)
    assert evaluate(labels, found, CLASSES) == evaluate(labels, found, CLASSES)
    assert capsys.readouterr() == ("", "")


def test_thousand_images_take_half_a_second_of_cpu() -> None:
    labels, found = drawn_set(6, 1000)
    # The best of three: the processor is shared.
    costs = []
    for _ in range(3):
        started = time.thread_time()
        evaluate(labels, found, CLASSES)
        costs.append(time.thread_time() - started)
    assert min(costs) <= 0.5
