import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightloop.serving.wire import HEAD, LENGTH_MAX, Kind, pack, unpack


@given(
    kind=st.sampled_from(Kind),
    body=st.binary(max_size=64),
    id=st.integers(0, 2**64 - 1),
    status=st.integers(0, 599),
)
def test_head_is_read_as_it_was_packed(kind: Kind, body: bytes, id: int, status: int) -> None:
    head = unpack(pack(kind, body, id=id, status=status))
    assert (head.kind, head.id, head.status, head.length) == (kind, id, status, len(body))


def test_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="99"):
        unpack(HEAD.pack(99, 0, 0, 0))


def test_length_beyond_the_limit_is_refused() -> None:
    with pytest.raises(ValueError, match="frame length"):
        unpack(HEAD.pack(Kind.ANSWER, 200, 1, LENGTH_MAX + 1))
