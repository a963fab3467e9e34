"""How a JSON head and raw bytes travel as one piece between front and worker.

Request: u32 length of the head, head, raw tensors. Answer: the 32 bytes of the digest of the
release that computed it, u8 whether an output is raw, then the same. Both stand apart so that the
front can count and pass on without reading JSON. Numbers are in network order.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from sightloop.errors import ProtocolError

_REQUEST: Final = struct.Struct("!I")
_ANSWER: Final = struct.Struct("!32s?I")


@dataclass(frozen=True, slots=True)
class AnswerParts:
    """An answer taken apart.

    Attributes:
        digest: Of the release that computed it, 64 hexadecimal digits.
        head: The JSON.
        raw: The raw tensors behind it; None when no output is raw.
    """

    digest: str
    head: memoryview
    raw: memoryview | None


def join_request(head: bytes | memoryview, raw: bytes | memoryview) -> bytes:
    """One piece for the worker."""
    return b"".join((_REQUEST.pack(len(head)), head, raw))


def split_request(body: bytes) -> tuple[memoryview, memoryview]:
    """Head and raw bytes; both share memory with `body`.

    Raises:
        ProtocolError: Shorter than it says.
    """
    view = memoryview(body)
    if len(view) < _REQUEST.size:
        raise ProtocolError("request: expected a head, found too few bytes")
    (length,) = _REQUEST.unpack_from(view)
    rest = view[_REQUEST.size :]
    if length > len(rest):
        raise ProtocolError(f"request: expected {length} bytes of JSON, found {len(rest)}")
    return rest[:length], rest[length:]


def join_answer(digest: str, head: bytes, raw: bytes | None) -> bytes:
    """One piece for the front."""
    prefix = _ANSWER.pack(bytes.fromhex(digest), raw is not None, len(head))
    return b"".join((prefix, head, raw or b""))


def split_answer(body: bytes) -> AnswerParts:
    """Take an answer of `join_answer` apart; the parts share its memory."""
    view = memoryview(body)
    digest, has_raw, length = _ANSWER.unpack_from(view)
    rest = view[_ANSWER.size :]
    return AnswerParts(digest.hex(), rest[:length], rest[length:] if has_raw else None)
