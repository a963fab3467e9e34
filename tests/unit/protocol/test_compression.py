from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightloop.errors import ProtocolError, UnsupportedError
from sightloop.protocol.compression import compress, decompress, wanted_encoding

LIMIT = 1 << 16


@given(st.binary(), st.sampled_from(["gzip", "deflate"]))
def test_compressed_body_comes_back(data: bytes, encoding: str) -> None:
    assert decompress(compress(data, encoding), encoding, limit_bytes=LIMIT) == data


def test_encodings_are_the_standard_ones() -> None:
    assert gzip.decompress(compress(b"x", "gzip")) == b"x"
    assert zlib.decompress(compress(b"x", "deflate")) == b"x"
    assert decompress(b"x", None, limit_bytes=LIMIT) == b"x"


def test_bomb_is_refused_at_the_limit() -> None:
    with pytest.raises(ProtocolError) as caught:
        decompress(gzip.compress(bytes(100 << 20)), "gzip", limit_bytes=LIMIT)
    assert caught.value.reason == "body_too_large"


@pytest.mark.parametrize(
    "data",
    [b"", b"no gzip", gzip.compress(b"cut off")[:-3], gzip.compress(b"a") + b"behind"],
    ids=["empty", "no gzip", "cut off", "more behind"],  # the bytes hold the time
)
def test_damaged_body_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        decompress(data, "gzip", limit_bytes=LIMIT)
    assert caught.value.reason == "request_malformed"


def test_other_encoding_is_not_offered() -> None:
    with pytest.raises(UnsupportedError):
        decompress(b"", "br", limit_bytes=LIMIT)


@pytest.mark.parametrize(
    ("accept", "encoding"),
    [
        (None, None),
        ("", None),
        ("identity", None),
        ("gzip", "gzip"),
        ("br, deflate;q=0.5, gzip", "deflate"),
        ("gzip;q=0, deflate", "deflate"),
        ("*", None),
    ],
)
def test_first_encoding_of_ours_is_taken(accept: str | None, encoding: str | None) -> None:
    assert wanted_encoding(accept) == encoding
