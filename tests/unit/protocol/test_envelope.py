from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightloop.errors import ProtocolError
from sightloop.protocol.envelope import (
    AnswerParts,
    join_answer,
    join_request,
    split_answer,
    split_request,
)


@given(st.binary(), st.binary() | st.none())
def test_request_and_answer_come_apart_as_they_were_joined(head: bytes, raw: bytes | None) -> None:
    found = split_request(join_request(head, raw or b""))
    assert (bytes(found[0]), bytes(found[1])) == (head, raw or b"")
    digest = "0f" * 32
    assert split_answer(join_answer(digest, head, raw)) == AnswerParts(
        digest, memoryview(head), None if raw is None else memoryview(raw)
    )


@given(st.binary(max_size=12))
def test_any_bytes_come_apart_or_are_refused(body: bytes) -> None:
    try:
        head, raw = split_request(body)
    except ProtocolError:
        return
    assert len(head) + len(raw) == len(body) - 4


def test_request_shorter_than_it_says_is_refused() -> None:
    with pytest.raises(ProtocolError):
        split_request(b"\0\0\0\7abc")
