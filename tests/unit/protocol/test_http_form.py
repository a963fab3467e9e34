from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightloop.errors import ProtocolError
from sightloop.protocol.http_form import split_body
from sightloop.protocol.requests import read_request


def test_body_without_the_header_is_all_json() -> None:
    assert split_body(b"{}", None) == (b"{}", b"")


def test_header_says_where_the_tensors_begin() -> None:
    head, raw = split_body(b'{"a":1}raw', "7")
    assert (bytes(head), bytes(raw)) == (b'{"a":1}', b"raw")


def test_header_of_zero_is_one_image_answered_raw() -> None:
    head, raw = split_body(b"jpeg", "0")
    request = read_request(head, memoryview(raw))
    assert request.head.all_binary
    assert (request.inputs[0].name, request.inputs[0].elements) == ("image", (b"jpeg",))


@given(st.text() | st.integers().map(str))
def test_header_that_is_no_length_of_the_body_is_refused(header: str) -> None:
    if header.strip() in {"0", "1", "2"}:
        return
    try:
        length = int(header) if header.strip().isascii() else -1
    except ValueError:
        length = -1
    if 0 <= length <= 2:
        return
    with pytest.raises(ProtocolError):
        split_body(b"{}", header)
