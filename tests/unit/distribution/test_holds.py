"""Holds: one file a held release."""

from __future__ import annotations

from pathlib import Path

import pytest

from sightloop.distribution.holds import Holds
from sightloop.distribution.store import ReleaseStore
from sightloop.errors import ReleaseNotFoundError

DIGEST = "a" * 64


@pytest.fixture
def holds(tmp_path: Path) -> Holds:
    return Holds(ReleaseStore(tmp_path / "store"))


def test_hold_is_there_until_it_is_lifted(holds: Holds) -> None:
    assert holds.notes() == {}
    holds.add(DIGEST, "first")
    holds.add(DIGEST, "shipped\nto line 4")
    assert holds.notes() == {DIGEST: "shipped to line 4"}
    assert holds.lift(DIGEST)
    assert not holds.lift(DIGEST)
    assert holds.notes() == {}


def test_hold_is_no_release_of_the_store(holds: Holds, tmp_path: Path) -> None:
    holds.add(DIGEST, "")
    assert ReleaseStore(tmp_path / "store").entries() == ()


@pytest.mark.parametrize("text", ["", "../../x", "A" * 64])
def test_what_is_no_digest_cannot_be_held(holds: Holds, text: str) -> None:
    with pytest.raises(ReleaseNotFoundError):
        holds.add(text, "")
