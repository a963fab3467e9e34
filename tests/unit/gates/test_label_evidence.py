"""Swapped colours and exchanged names, from labels alone."""

from __future__ import annotations

import numpy as np
import pytest

from sightloop.gates.label_evidence import (
    ColourEvidence,
    UsualName,
    compare_colours,
    find_exchange,
    swap_colours,
    usual_names,
)
from sightloop.release.calibration import FrameExpectation
from sightloop.vision.detections import Detections, Labels, no_detections

BOX = np.array([[10, 10, 20, 20]], np.float32)


def _found(score: float, index: int = 0) -> Detections:
    return Detections(BOX, np.array([score], np.float32), np.array([index]))


FRAME = FrameExpectation("f", 50, 50, Labels(BOX, np.array([0])), None)


def test_label_counts_for_the_picture_it_scores_higher_on() -> None:
    frames = [
        (FRAME, _found(0.9), _found(0.5)),
        (FRAME, _found(0.5), _found(0.9)),
        (FRAME, no_detections(), _found(0.3)),
        (FRAME, _found(0.5), _found(0.51)),
    ]
    assert compare_colours(frames, iou=0.5) == ColourEvidence(1, 2, frames=3)


def test_grey_pictures_give_no_evidence() -> None:
    evidence = compare_colours([(FRAME, _found(0.9), _found(0.9))], iou=0.5)
    assert evidence.sign_test_z == 0.0


def test_sign_test_is_the_normal_score() -> None:
    assert ColourEvidence(better_given=22, better_swapped=62).sign_test_z == pytest.approx(
        4.364, abs=1e-3
    )


@pytest.mark.parametrize(
    ("given", "swapped", "frames", "settled"),
    [
        (20, 0, 4, True),
        (20, 0, 3, False),  # one light is no proof
        (6, 0, 6, False),
        (40, 24, 20, False),
        (0, 20, 4, False),  # wrong colours are never spared the rest
    ],
)
def test_colours_are_settled_only_as_surely_as_a_refusal_is(
    given: int, swapped: int, frames: int, *, settled: bool
) -> None:
    assert ColourEvidence(given, swapped, frames).settled is settled


def test_swapping_twice_is_the_picture() -> None:
    frame = np.random.default_rng(1).integers(0, 255, (4, 5, 3), np.uint8)
    swapped = swap_colours(frame)
    assert (swapped[..., 0] == frame[..., 2]).all()
    assert (swap_colours(swapped) == frame).all()
    assert swapped.flags.c_contiguous


def test_located_labels_are_counted_under_the_name_they_are_given() -> None:
    names = usual_names(
        [(FRAME, _found(0.9, 1)), (FRAME, _found(0.9, 1)), (FRAME, _found(0.9, 0))], iou=0.5
    )
    assert names == {0: UsualName(given=1, times=2, located=3)}


@pytest.mark.parametrize(
    ("names", "exchanged"),
    [
        ({0: (0, 9, 9), 1: (1, 5, 5)}, ()),
        ({0: (1, 3, 3), 1: (0, 3, 3)}, (0, 1)),
        ({0: (1, 3, 3), 1: (2, 3, 3), 2: (0, 3, 3)}, (0, 1, 2)),
        ({0: (1, 2, 2), 1: (0, 2, 2)}, ()),  # too few to tell
        ({0: (1, 2, 3), 1: (1, 9, 9)}, ()),  # one taken for another: a weakness
        ({0: (1, 3, 6), 1: (0, 3, 6)}, ()),  # half of them: no majority
        ({0: (1, 7, 8)}, (0, 1)),
        ({0: (1, 6, 8)}, ()),
    ],
)
def test_names_are_exchanged_in_a_ring_or_plainly(
    names: dict[int, tuple[int, int, int]], exchanged: tuple[int, ...]
) -> None:
    usual = {index: UsualName(*values) for index, values in names.items()}
    assert find_exchange(usual) == exchanged
