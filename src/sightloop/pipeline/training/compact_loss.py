"""What the compact network is taught: which place answers for which box, and how wrong it is.

Task-aligned assignment (TOOD, Feng et al. 2021, arXiv:2108.07755): of the places within a box
those answer for it whose score and overlap are best together, and the better they are, the higher
the score they are taught. Boxes by generalised overlap (GIoU, Rezatofighi et al. 2019,
arXiv:1902.09630) and by the distribution of each edge (GFL, Li et al. 2020, arXiv:2006.04388).

torch is imported when a function is called; importing this file imports none of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sightloop.pipeline.training.compact_network import BINS

PLACES_A_BOX: Final = 10
_SCORE_POWER: Final = 0.5
_OVERLAP_POWER: Final = 6.0
_REACH: Final = 1.0
"""Half a side that a box has at least for the question which places lie in it, in strides: a box
smaller than the grid still finds its nearest place."""
_CLASS_GAIN: Final = 1.0
_BOX_GAIN: Final = 2.5
_EDGE_GAIN: Final = 0.5
_TINY: Final = 1e-9
_LEAST_FIT: Final = 1e-30
"""An overlap of 1 % to its power is 1e-12: a box is never too small to be answered for."""


@dataclass(frozen=True, slots=True)
class Targets:
    """Labels of a batch, filled up to the same count.

    Attributes:
        boxes: (B, M, 4) float32, x1 y1 x2 y2 in px.
        classes: (B, M) int64.
        real: (B, M) bool: what is no filling.
    """

    boxes: Any
    classes: Any
    real: Any


@dataclass(frozen=True, slots=True)
class Assignment:
    """Which place answers for which box.

    Attributes:
        scores: (B, N, C) float32: the score each place is taught.
        boxes: (B, N, 4) float32: the box of the places that answer for one.
        answers: (B, N) bool: which places those are.
    """

    scores: Any
    boxes: Any
    answers: Any


def overlap(ours: Any, theirs: Any, *, generalised: bool = False) -> Any:
    """IoU of boxes x1 y1 x2 y2 along the last axis; generalised: less the empty share around both.

    Both are broadcast against each other.
    """
    import torch

    least = torch.maximum(ours[..., :2], theirs[..., :2])
    most = torch.minimum(ours[..., 2:], theirs[..., 2:])
    shared = (most - least).clamp(min=0).prod(dim=-1)
    area = (ours[..., 2:] - ours[..., :2]).clamp(min=0).prod(dim=-1)
    area = area + (theirs[..., 2:] - theirs[..., :2]).clamp(min=0).prod(dim=-1) - shared
    iou = shared / (area + _TINY)
    if not generalised:
        return iou
    around = torch.maximum(ours[..., 2:], theirs[..., 2:]) - torch.minimum(
        ours[..., :2], theirs[..., :2]
    )
    hull = around.clamp(min=0).prod(dim=-1) + _TINY
    return iou - (hull - area) / hull


def assign(scores: Any, boxes: Any, centres: Any, strides: Any, targets: Targets) -> Assignment:
    """Give each labelled box the places that answer for it.

    Args:
        scores: (B, N, C) 0..1, what the network says; no gradient passes.
        boxes: (B, N, 4), what it says.
        centres: (N, 2) px.
        strides: (N,) px.
        targets: What people marked.
    """
    import torch

    batch, places, class_count = scores.shape
    marked = targets.boxes.shape[1]
    if marked == 0:
        nothing = torch.zeros(batch, places, dtype=torch.bool, device=scores.device)
        return Assignment(torch.zeros_like(scores), torch.zeros_like(boxes), nothing)
    iou = overlap(targets.boxes[:, :, None], boxes[:, None])  # (B, M, N)
    own = targets.classes[:, :, None].expand(-1, -1, places)
    said = torch.gather(scores.transpose(1, 2), 1, own)
    fit = said.pow(_SCORE_POWER) * iou.pow(_OVERLAP_POWER)
    fit = fit * (_within(centres, strides, targets.boxes) & targets.real[:, :, None])
    count = min(PLACES_A_BOX, places)
    best = torch.topk(fit, count, dim=-1)
    chosen = torch.zeros_like(fit).scatter_(-1, best.indices, (best.values > 0).float())
    # A place in several boxes answers for the one it overlaps most.
    several = chosen.sum(dim=1, keepdim=True) > 1
    most = torch.zeros_like(chosen).scatter_(1, iou.argmax(dim=1, keepdim=True), 1.0)
    chosen = torch.where(several, chosen * most, chosen)
    fit = fit * chosen
    # The best place of a box is taught its overlap, the others their share of it.
    share = fit / fit.amax(dim=-1, keepdim=True).clamp(min=_LEAST_FIT)
    taught = (share * (iou * chosen).amax(dim=-1, keepdim=True)).amax(dim=1)
    answers = chosen.sum(dim=1) > 0
    which = chosen.argmax(dim=1)
    wanted = torch.gather(targets.boxes, 1, which[..., None].expand(-1, -1, 4))
    classes = torch.gather(targets.classes, 1, which)
    hot = torch.nn.functional.one_hot(classes, class_count).to(scores.dtype)
    return Assignment(hot * (taught * answers)[..., None], wanted, answers)


def _within(centres: Any, strides: Any, boxes: Any) -> Any:
    """(B, M, N): whether a place lies in a box, or next to one that is smaller than the grid."""
    import torch

    middle = (boxes[..., :2] + boxes[..., 2:]) / 2
    half = (boxes[..., 2:] - boxes[..., :2]) / 2
    reach = torch.maximum(half[:, :, None], _REACH * strides[:, None])
    return ((centres - middle[:, :, None]).abs() < reach).all(dim=-1)


def loss_of(answer: Any, centres: Any, strides: Any, targets: Targets) -> dict[str, Any]:
    """How wrong an answer in training is, by part; their sum is to be made small.

    Args:
        answer: Class logits, edge logits and boxes, as the network gives them in training.
        centres: (N, 2) px.
        strides: (N,) px.
        targets: What people marked.
    """
    import torch

    logits, edges, boxes = answer
    assignment = assign(logits.detach().sigmoid(), boxes.detach(), centres, strides, targets)
    weight = assignment.scores.sum().clamp(min=1.0)
    cross = torch.nn.functional.binary_cross_entropy_with_logits
    class_loss = cross(logits, assignment.scores, reduction="sum") / weight
    answers = assignment.answers
    taught = assignment.scores.sum(dim=-1)[answers]
    wanted = assignment.boxes[answers]
    missing = 1 - overlap(boxes[answers], wanted, generalised=True)
    place, stride = _of_answers(centres, answers), _of_answers(strides[:, None], answers)
    distances = torch.cat([place - wanted[:, :2], wanted[:, 2:] - place], dim=-1) / stride
    edge_loss = _distribution_loss(edges[answers], distances.clamp(0, BINS - 1.01))
    return {
        "class": _CLASS_GAIN * class_loss,
        "box": _BOX_GAIN * (missing * taught).sum() / weight,
        "edge": _EDGE_GAIN * (edge_loss * taught).sum() / weight,
    }


def _of_answers(values: Any, answers: Any) -> Any:
    """(k, D): a value a place, (N, D), for every place of the batch that answers."""
    return values[None].expand(answers.shape[0], -1, -1)[answers]


def _distribution_loss(logits: Any, distances: Any) -> Any:
    """(k,): cross entropy with the two bins around each distance, mean over the four edges."""
    import torch

    lower = distances.floor().long()
    upper_share = distances - lower
    said = logits.log_softmax(dim=-1)
    below = torch.gather(said, -1, lower[..., None])[..., 0]
    above = torch.gather(said, -1, lower[..., None] + 1)[..., 0]
    return -(below * (1 - upper_share) + above * upper_share).mean(dim=-1)
