from __future__ import annotations

import contextlib
import io
import time
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sightloop.vision.average_precision import evaluate
from sightloop.vision.detections import Detections, Labels, no_detections

_CLASSES = 5


def _set(seed: int, images: int, *, each: int = 12) -> tuple[list[Labels], list[Detections]]:
    """Labels of classes 0 to 3 (never 4), and detections scattered around them."""
    rng = np.random.default_rng(seed)
    labels, found = [], []
    for _ in range(images):
        count = int(rng.integers(0, 5))
        corners = rng.uniform(0, 400, (count, 2))
        boxes = np.concatenate([corners, corners + rng.uniform(10, 120, (count, 2))], axis=1)
        classes = rng.integers(0, 4, count)
        labels.append(Labels(boxes.astype(np.float32), classes))
        pick = rng.integers(0, count, each) if count else np.zeros(0, np.int64)
        moved = boxes[pick] + rng.normal(0, 5, (len(pick), 4))
        moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2] + 1)
        guess = np.where(rng.random(len(pick)) < 0.8, classes[pick], rng.integers(0, 5, len(pick)))
        scores = np.sort(rng.random(len(pick)))[::-1]
        found.append(Detections(moved.astype(np.float32), scores.astype(np.float32), guess))
    return labels, found


def _oracle(labels: Sequence[Labels], found: Sequence[Detections]) -> NDArray[np.float64]:
    """(IoU, recall, class) of pycocotools."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth = COCO()
    marks: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    for image, (marked, detections) in enumerate(zip(labels, found, strict=True)):
        for (x1, y1, x2, y2), category in zip(
            marked.boxes.tolist(), marked.classes.tolist(), strict=True
        ):
            size = [x1, y1, x2 - x1, y2 - y1]
            mark = {"id": len(marks) + 1, "image_id": image, "category_id": category, "iscrowd": 0}
            marks.append(mark | {"bbox": size, "area": size[2] * size[3]})
        columns = zip(
            detections.boxes.tolist(),
            detections.scores.tolist(),
            detections.classes.tolist(),
            strict=True,
        )
        for (x1, y1, x2, y2), score, category in columns:
            row = {"image_id": image, "category_id": category, "score": score}
            rows.append(row | {"bbox": [x1, y1, x2 - x1, y2 - y1]})
    truth.dataset = {
        "images": [{"id": image} for image in range(len(labels))],
        "annotations": marks,
        "categories": [{"id": index} for index in range(_CLASSES)],
    }
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(rows), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
    precision: NDArray[np.float64] = evaluation.eval["precision"]
    return precision[:, :, :, 0, -1]


@pytest.mark.parametrize("seed", [0, 1])
def test_figures_are_those_of_pycocotools(seed: int) -> None:
    labels, found = _set(seed, 60)
    report = evaluate(labels, found, _CLASSES)
    oracle = _oracle(labels, found)
    for index in range(4):
        assert report.ap50[index] == pytest.approx(oracle[0, :, index].mean(), abs=1e-4)
        assert report.ap50_95[index] == pytest.approx(oracle[:, :, index].mean(), abs=1e-4)
        curve = report.curves[index]
        assert curve is not None
        assert curve.precision == pytest.approx(oracle[0, :, index], abs=1e-4)
    assert report.map50 == pytest.approx(oracle[0, :, :4].mean(), abs=1e-4)
    assert report.map50_95 == pytest.approx(oracle[:, :, :4].mean(), abs=1e-4)


def test_class_without_labels_has_no_figure_and_does_not_count() -> None:
    report = evaluate(*_set(2, 40), _CLASSES)
    assert report.ap50[4] is None
    assert report.ap50_95[4] is None
    assert report.curves[4] is None
    assert report.label_counts[4] == 0
    known = [value for value in report.ap50 if value is not None]
    assert report.map50 == pytest.approx(sum(known) / 4)


def test_labels_themselves_score_one() -> None:
    labels, _ = _set(3, 20)
    perfect = [
        Detections(part.boxes, np.full(len(part), 0.9, np.float32), part.classes) for part in labels
    ]
    report = evaluate(labels, perfect, _CLASSES)
    assert report.map50 == pytest.approx(1.0)
    assert report.map50_95 == pytest.approx(1.0)
    assert sum(report.label_counts) == sum(len(part) for part in labels)


def test_finding_nothing_scores_zero() -> None:
    labels, _ = _set(4, 10)
    report = evaluate(labels, [no_detections()] * 10, _CLASSES)
    assert report.map50 == 0.0
    assert report.ap50[:4] == (0.0,) * 4


def test_set_without_labels_has_no_figures() -> None:
    nothing = Labels(np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    report = evaluate([nothing], [_set(0, 3)[1][0]], _CLASSES)
    assert report.map50 is None
    assert report.map50_95 is None
    assert report.ap50 == (None,) * _CLASSES
    assert evaluate([], [], 2).map50 is None


def test_frames_that_do_not_pair_up_are_refused() -> None:
    labels, found = _set(0, 3)
    with pytest.raises(ValueError, match="as many as labels"):
        evaluate(labels, found[:2], _CLASSES)
    with pytest.raises(ValueError, match="expected classes 0 to 1"):
        evaluate(labels, found, 2)


def test_nothing_is_printed_and_it_is_the_same_twice(capsys: pytest.CaptureFixture[str]) -> None:
    labels, found = _set(5, 30)
    assert evaluate(labels, found, _CLASSES) == evaluate(labels, found, _CLASSES)
    assert capsys.readouterr() == ("", "")


def test_thousand_images_take_half_a_second_of_cpu() -> None:
    labels, found = _set(6, 1000)
    # The best of three: the processor is shared.
    costs = []
    for _ in range(3):
        started = time.thread_time()
        evaluate(labels, found, _CLASSES)
        costs.append(time.thread_time() - started)
    assert min(costs) <= 0.5
