"""Compressed HTTP bodies: gzip and deflate (zlib), both ways, with a bound on what comes out."""

from __future__ import annotations

import zlib
from typing import Final

from sightloop.errors import ProtocolError, UnsupportedError

_EITHER: Final = 32 + zlib.MAX_WBITS
_FORMATS: Final = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
_FAST: Final = 1


def decompress(data: bytes, encoding: str | None, *, limit_bytes: int) -> bytes:
    """Undo a Content-Encoding.

    Raises:
        UnsupportedError: An encoding other than gzip, deflate and identity.
        ProtocolError: Damaged, or larger than `limit_bytes` (`body_too_large`).
    """
    word = (encoding or "identity").strip().lower()
    if word == "identity":
        return data
    if word not in _FORMATS:
        raise UnsupportedError(f"Content-Encoding: expected gzip or deflate, found {word[:80]!r}")
    reader = zlib.decompressobj(_EITHER)
    try:
        out = reader.decompress(data, limit_bytes + 1)
    except zlib.error as error:
        raise ProtocolError(f"request body: expected {word} data, found: {error}") from None
    if len(out) > limit_bytes:
        raise ProtocolError(
            f"request body: expected at most {limit_bytes} bytes behind its {word}, found more; "
            "send less or raise serve.body_bytes_max",
            "body_too_large",
        )
    if not reader.eof or reader.unused_data:
        raise ProtocolError(f"request body: expected one whole {word} stream, found another length")
    return out


def wanted_encoding(accept: str | None) -> str | None:
    """The first encoding of an Accept-Encoding header that is ours; None for plain bytes."""
    for part in (accept or "").split(","):
        word, _, weight = part.strip().lower().partition(";")
        if word.strip() in _FORMATS and weight.replace(" ", "") not in ("q=0", "q=0.0"):
            return word.strip()
    return None


def compress(data: bytes, encoding: str) -> bytes:
    """Apply a Content-Encoding, the quick way."""
    writer = zlib.compressobj(_FAST, zlib.DEFLATED, _FORMATS[encoding])
    return writer.compress(data) + writer.flush()
