from __future__ import annotations

from typing import Any

import pytest

from sightloop.pipeline.training.compact_loss import Targets, assign, loss_of, overlap
from sightloop.pipeline.training.compact_network import BINS, points_of

torch = pytest.importorskip("torch", reason="needs torch (extra `train-compact`)")

SIDE_PX = 64


def _targets(boxes: list[list[float]], classes: list[int], filling: int = 0) -> Targets:
    count = len(boxes)
    padded = boxes + [[0.0] * 4] * filling
    return Targets(
        boxes=torch.tensor([padded], dtype=torch.float32).reshape(1, count + filling, 4),
        classes=torch.tensor([classes + [0] * filling], dtype=torch.long),
        real=torch.tensor([[True] * count + [False] * filling], dtype=torch.bool),
    )


def _blank(class_count: int = 2) -> tuple[Any, Any, Any, Any]:
    """Even scores, and boxes of 16 px around every place."""
    centres, strides = points_of(SIDE_PX)
    boxes = torch.cat([centres - 8, centres + 8], dim=-1)[None]
    return torch.full((1, len(centres), class_count), 0.1), boxes, centres, strides


@pytest.mark.parametrize(
    ("theirs", "iou", "generalised"),
    [
        ([0, 0, 10, 10], 1.0, 1.0),
        ([5, 0, 15, 10], 1 / 3, 1 / 3),
        ([10, 0, 20, 10], 0.0, 0.0),
        ([20, 0, 30, 10], 0.0, -1 / 3),
        ([5, 5, 15, 15], 25 / 175, 25 / 175 - 50 / 225),
    ],
)
def test_overlap_is_that_of_the_definition(
    theirs: list[float], iou: float, generalised: float
) -> None:
    ours, other = torch.tensor([0.0, 0, 10, 10]), torch.tensor(theirs, dtype=torch.float32)
    assert float(overlap(ours, other)) == pytest.approx(iou, abs=1e-6)
    assert float(overlap(ours, other, generalised=True)) == pytest.approx(generalised, abs=1e-6)


def test_places_answer_for_the_box_they_lie_in_with_its_class() -> None:
    scores, boxes, centres, strides = _blank()
    found = assign(scores, boxes, centres, strides, _targets([[16, 16, 32, 32]], [1]))
    answering = centres[found.answers[0]]
    assert 1 <= len(answering) <= 10
    assert bool(((answering - 24).abs() < 8 + strides[found.answers[0]][:, None]).all())
    assert bool((found.scores[0][found.answers[0]][:, 1] > 0).all())
    assert float(found.scores[..., 0].max()) == 0
    assert float(found.scores[0][~found.answers[0]].abs().max()) == 0
    assert found.boxes[0][found.answers[0]].unique(dim=0).tolist() == [[16, 16, 32, 32]]


def test_best_place_is_taught_its_overlap() -> None:
    scores, boxes, centres, strides = _blank()
    target = [16.0, 16, 32, 32]
    found = assign(scores, boxes, centres, strides, _targets([target], [0]))
    best = overlap(boxes[0], torch.tensor(target)).max()
    assert float(found.scores.max()) == pytest.approx(float(best), abs=1e-5)


def test_box_smaller_than_the_grid_still_finds_a_place() -> None:
    scores, boxes, centres, strides = _blank()
    found = assign(scores, boxes, centres, strides, _targets([[30.5, 30.5, 33.5, 33.5]], [0]))
    assert bool(found.answers.any())


def test_place_in_two_boxes_answers_for_one() -> None:
    scores, boxes, centres, strides = _blank()
    both = [[14.0, 14, 34, 34], [16.0, 16, 32, 32]]
    found = assign(scores, boxes, centres, strides, _targets(both, [0, 1]))
    taught = (found.scores[0][found.answers[0]] > 0).sum(dim=-1)
    assert taught.tolist() == [1] * len(taught)


def test_filling_and_images_without_boxes_are_answered_by_nobody() -> None:
    scores, boxes, centres, strides = _blank()
    for targets in (_targets([], []), _targets([], [], filling=3)):
        found = assign(scores, boxes, centres, strides, targets)
        assert not bool(found.answers.any())
        assert float(found.scores.abs().max()) == 0


def test_loss_of_nothing_to_find_is_finite_and_falls_with_the_scores() -> None:
    _, boxes, centres, strides = _blank()
    edges = torch.zeros(1, len(centres), 4, BINS)
    losses = []
    for logit in (0.0, -4.0):
        logits = torch.full((1, len(centres), 2), logit)
        parts = loss_of((logits, edges, boxes), centres, strides, _targets([], []))
        losses.append(float(sum(parts.values())))
        assert float(parts["box"]) == float(parts["edge"]) == 0
    assert losses[1] < losses[0]


def test_right_answer_costs_less_than_a_shifted_one() -> None:
    _, _, centres, strides = _blank()
    wanted = torch.tensor([16.0, 16, 32, 32])
    targets = _targets([wanted.tolist()], [0])
    logits = torch.full((1, len(centres), 2), -2.0)
    edges = torch.zeros(1, len(centres), 4, BINS)
    costs = []
    for shift in (0.0, 3.0):
        boxes = (wanted + shift).expand(1, len(centres), 4)
        costs.append(float(loss_of((logits, edges, boxes), centres, strides, targets)["box"]))
    assert costs[0] == pytest.approx(0.0, abs=1e-4)
    assert costs[1] > 0.3
