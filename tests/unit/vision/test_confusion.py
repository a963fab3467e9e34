from __future__ import annotations

import numpy as np

from sightloop.vision.confusion import OTHERS, Confusion, confusion_of, most_confused
from sightloop.vision.detections import Detections, Labels
from sightloop.vision.mistakes import JudgedFrame, judge_frame

CLASSES = ("pit", "spot", "dent")


def _frames(count: int = 60) -> list[JudgedFrame]:
    """Drawn answers: labels found, moved, renamed, left out and invented."""
    random = np.random.default_rng(5)
    frames = []
    for _ in range(count):
        corners = random.uniform(0, 80, (random.integers(0, 6), 2))
        boxes = np.concatenate([corners, corners + 20], axis=1).astype(np.float32)
        classes = random.integers(0, 3, len(boxes))
        kept = random.random(len(boxes)) < 0.8
        renamed = np.where(random.random(len(boxes)) < 0.3, random.integers(0, 3), classes)
        moved = boxes + random.uniform(-6, 6, boxes.shape).astype(np.float32)
        extra = np.array([[0, 0, 9, 9]], np.float32)
        found = np.concatenate([moved[kept], extra])
        shown = Detections(
            found,
            random.uniform(0.1, 1, len(found)).astype(np.float32),
            np.append(renamed[kept], 1).astype(np.int64),
        )
        frames.append(judge_frame(Labels(boxes, classes), shown, score=0.25, iou=0.5))
    return frames


def test_rows_sum_up_to_labels_and_columns_to_detections() -> None:
    frames = _frames()
    counts = confusion_of(frames, CLASSES).counts
    for index in range(len(CLASSES)):
        assert counts[index].sum() == sum((f.labels.classes == index).sum() for f in frames)
        assert counts[:, index].sum() == sum((f.shown.classes == index).sum() for f in frames)
    assert counts[-1, -1] == 0
    assert (counts[:-1, :-1].sum() - np.trace(counts)) > 0


def test_the_diagonal_is_what_recall_and_precision_count() -> None:
    frames = _frames()
    counts = confusion_of(frames, CLASSES).counts
    assert np.trace(counts) == sum(len(frame.pairs) for frame in frames)


def test_shares_are_of_the_row_and_none_in_an_empty_one() -> None:
    shares = Confusion(("a",), np.array([[3, 1], [0, 0]])).row_shares()
    assert shares.tolist() == [[0.75, 0.25], [0.0, 0.0]]


def test_the_classes_without_mistakes_are_counted_as_one() -> None:
    counts = np.diag([5, 6, 7, 8, 0]).astype(np.int64)
    counts[1, 4] = 2
    counts[4, 3] = 1
    grouped = most_confused(Confusion(("a", "b", "c", "d"), counts), count=3)
    assert grouped.names == ("b", "d", OTHERS)
    assert grouped.counts.tolist() == [[6, 0, 0, 2], [0, 8, 0, 0], [0, 0, 12, 0], [0, 1, 0, 0]]
    assert grouped.counts.sum() == counts.sum()


def test_a_matrix_that_can_be_read_stays_as_it_is() -> None:
    confusion = Confusion(("a",), np.array([[1, 0], [0, 0]]))
    assert most_confused(confusion, count=2) is confusion
