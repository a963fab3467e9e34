"""Frames between the front and a worker: a fixed head, then bytes. No pickle, no text parsing.

Head (network order): kind u8, status u16, id u64, length u32. The body of an ANSWER begins with
the `StageTimes` of its request. Pure packing; sockets are in `worker.py` and `workers.py`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

HEAD = struct.Struct("!BHQI")
TIMES = struct.Struct("!4IH")
LENGTH_MAX = 1 << 30
ALONE = 1
"""`status` of a request that must not be answered together with others."""
_U32_MAX = (1 << 32) - 1


class Kind(IntEnum):
    """What a frame carries."""

    DETECT = 1
    """Front to worker: image bytes."""
    ANSWER = 2
    """Worker to front: `StageTimes`, then what was asked for; `status` as HTTP has it."""
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
    INFER = 8
    """Front to worker: tensors, as `infer.py` reads them."""


@dataclass(frozen=True, slots=True)
class StageTimes:
    """What the parts of one answer took in its worker, in whole microseconds of wall time.

    Attributes:
        frames: Requests that the same run of the network answered, this one included.
    """

    decode_us: int = 0
    preprocess_us: int = 0
    inference_us: int = 0
    postprocess_us: int = 0
    frames: int = 1

    @property
    def total_us(self) -> int:
        """All parts together."""
        return self.decode_us + self.preprocess_us + self.inference_us + self.postprocess_us

    @classmethod
    def from_ms(
        cls, *, decode: float = 0.0, preprocess: float = 0.0, inference: float, postprocess: float
    ) -> StageTimes:
        """The same of milliseconds."""
        parts = (decode, preprocess, inference, postprocess)
        return cls(*(round(part * 1000) for part in parts))

    def to_bytes(self) -> bytes:
        """`TIMES.size` bytes; what does not fit counts as the largest that does."""
        parts = (self.decode_us, self.preprocess_us, self.inference_us, self.postprocess_us)
        return TIMES.pack(*(min(part, _U32_MAX) for part in parts), self.frames)


NO_TIMES = StageTimes()


def split_times(body: bytes) -> tuple[StageTimes, bytes]:
    """The times and the rest of an ANSWER's body.

    Raises:
        ValueError: The body is too short to hold them.
    """
    if len(body) < TIMES.size:
        raise ValueError(f"answer: expected at least {TIMES.size} bytes, found {len(body)}")
    return StageTimes(*TIMES.unpack_from(body)), body[TIMES.size :]


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


def unpack(data: bytes | bytearray) -> Head:
    """Read a head of `HEAD.size` bytes.

    Raises:
        ValueError: Unknown kind or a length no peer of ours sends.
    """
    kind, status, id, length = HEAD.unpack(data)
    if length > LENGTH_MAX:
        raise ValueError(f"frame length: expected at most {LENGTH_MAX}, found {length}")
    return Head(kind=Kind(kind), status=status, id=id, length=length)
