"""Frames between the front and a worker: a fixed head, then bytes. No pickle, no text parsing.

Head (network order): kind u8, status u16, id u64, length u32. Pure packing; sockets are in
`worker.py` and `workers.py`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

HEAD = struct.Struct("!BHQI")
LENGTH_MAX = 1 << 30


class Kind(IntEnum):
    """What a frame carries."""

    DETECT = 1
    """Front to worker: image bytes."""
    ANSWER = 2
    """Worker to front: JSON; `status` as HTTP has it."""
    ORDER = 3
    """Front to worker: JSON of an `Order`."""
    STATE = 4
    """Worker to front: JSON with the state reached."""
    ADMITTED = 5
    """Worker to front: JSON with verdicts and identity; the worker answers from now on."""
    REFUSED = 6
    """Worker to front: JSON with verdicts."""
    STOP = 7
    """Front to worker: free the release and end."""


@dataclass(frozen=True, slots=True)
class Head:
    """The fixed part of a frame."""

    kind: Kind
    status: int
    id: int
    length: int


def pack(kind: Kind, body: bytes = b"", *, id: int = 0, status: int = 0) -> bytes:
    """The head of a frame with `body`; the body is sent after it, uncopied where large."""
    return HEAD.pack(kind, status, id, len(body))


def unpack(data: bytes) -> Head:
    """Read a head of `HEAD.size` bytes.

    Raises:
        ValueError: Unknown kind or a length no peer of ours sends.
    """
    kind, status, id, length = HEAD.unpack(data)
    if length > LENGTH_MAX:
        raise ValueError(f"frame length: expected at most {LENGTH_MAX}, found {length}")
    return Head(kind=Kind(kind), status=status, id=id, length=length)
