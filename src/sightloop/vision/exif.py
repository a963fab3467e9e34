"""The orientation that a camera wrote into a JPEG's Exif block, and applying it.

Only the one tag is read; a block that is cut or nonsense means upright, as in OpenCV. No bytes
outside the block are touched.
"""

from __future__ import annotations

import struct
from typing import Final

import numpy as np
from numpy.typing import NDArray

EXIF_MARK: Final = b"Exif\0\0"
_ORIENTATION_TAG = 0x0112
_SHORT = 3
_ENTRY_BYTES = 12
UPRIGHT: Final = 1


def read_orientation(block: bytes) -> int:
    """Orientation 1 to 8 out of an APP1 segment's content that starts with `EXIF_MARK`.

    Returns:
        The tag's value; 1 (upright) when it is absent or not readable.
    """
    tiff = block[len(EXIF_MARK) :]
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None or len(tiff) < 8:
        return UPRIGHT
    magic, start = struct.unpack_from(order + "HI", tiff, 2)
    if magic != 42 or start + 2 > len(tiff):
        return UPRIGHT
    (count,) = struct.unpack_from(order + "H", tiff, start)
    for index in range(count):
        entry = start + 2 + index * _ENTRY_BYTES
        if entry + _ENTRY_BYTES > len(tiff):
            return UPRIGHT
        tag, kind, _, value = struct.unpack_from(order + "HHIH", tiff, entry)
        if tag == _ORIENTATION_TAG:
            return value if kind == _SHORT and 1 <= value <= 8 else UPRIGHT
    return UPRIGHT


def turn_upright(frame: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Undo `orientation` (1 to 8) on a (H, W, 3) frame; 5 to 8 swap width and height."""
    if orientation >= 5:
        frame = frame.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        frame = frame[:, ::-1]
    if orientation in (3, 4, 7, 8):
        frame = frame[::-1]
    return np.ascontiguousarray(frame)
