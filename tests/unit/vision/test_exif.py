from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightloop.vision.exif import EXIF_MARK, read_orientation, turn_upright


def _block(orientation: int, *, kind: int = 3, offset: int = 8) -> bytes:
    entry = struct.pack("<HHIHH", 0x112, kind, 1, orientation, 0)
    other = struct.pack("<HHIHH", 0x100, 3, 1, 640, 0)
    return EXIF_MARK + b"II" + struct.pack("<HIH", 42, offset, 2) + other + entry + bytes(4)


def test_orientation_is_found_among_other_tags() -> None:
    assert read_orientation(_block(6)) == 6


@pytest.mark.parametrize(
    "block",
    [
        b"",
        EXIF_MARK,
        _block(0),
        _block(9),
        _block(6, kind=4),
        _block(6, offset=4000),
        _block(6)[:30],
    ],
    ids=["empty", "mark only", "zero", "nine", "wrong type", "outside", "cut"],
)
def test_unreadable_block_means_upright(block: bytes) -> None:
    assert read_orientation(block) == 1


@given(st.binary(max_size=200))
def test_any_bytes_give_an_orientation(tail: bytes) -> None:
    assert 1 <= read_orientation(EXIF_MARK + tail) <= 8


@pytest.mark.parametrize(
    ("orientation", "expected"),
    [
        (1, [[1, 2, 3], [4, 5, 6]]),
        (2, [[3, 2, 1], [6, 5, 4]]),
        (3, [[6, 5, 4], [3, 2, 1]]),
        (4, [[4, 5, 6], [1, 2, 3]]),
        (5, [[1, 4], [2, 5], [3, 6]]),
        (6, [[4, 1], [5, 2], [6, 3]]),
        (7, [[6, 3], [5, 2], [4, 1]]),
        (8, [[3, 6], [2, 5], [1, 4]]),
    ],
)
def test_frame_is_turned_upright(orientation: int, expected: list[list[int]]) -> None:
    frame = np.repeat(np.array([[1, 2, 3], [4, 5, 6]], np.uint8)[..., None], 3, axis=2)
    turned = turn_upright(frame, orientation)
    assert turned[..., 0].tolist() == expected
    assert turned.flags.c_contiguous
