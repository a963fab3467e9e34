"""While a rollout waits it says what the candidate is at."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sightloop.cli.main import app
from sightloop.cli.rollout import digest_in, repeated, said_to_go_on
from sightloop.errors import ReleaseNotFoundError, ServerUnreachableError

_A, _B = "ab12cd" + "0" * 58, "ab12cd" + "1" * 58
_EVENTS: list[dict[str, Any]] = [
    {"action": "start", "release": {"semver": "1.0.0", "digest": _A}},
    {"action": "refused", "release": None},
    {"action": "update", "release": {"semver": "1.1.0", "digest": _B}},
    {"action": "rollback", "release": {"semver": "1.0.0", "digest": _A}},
]


@pytest.mark.parametrize("text", ["1.0.0", "ab12cd0", _A])
def test_release_of_the_history_is_named_as_it_is_shown(text: str) -> None:
    assert digest_in(_EVENTS, text) == _A


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("2.0.0", "release_not_found"),
        ("ab12", "release_not_found"),
        ("ab12cd", "release_ambiguous"),
    ],
)
def test_rollback_goes_nowhere_that_is_not_clear(text: str, reason: str) -> None:
    with pytest.raises(ReleaseNotFoundError) as caught:
        digest_in(_EVENTS, text)
    assert caught.value.reason == reason


def test_call_is_repeated_while_the_block_waits_and_not_after() -> None:
    calls: list[int] = []
    three = threading.Event()

    def call() -> None:
        calls.append(len(calls))
        if len(calls) == 1:
            raise ServerUnreachableError("an answer that did not come ends nothing")
        if len(calls) == 3:
            three.set()

    with repeated(call, every_s=0.001):
        assert three.wait(10)
    count = len(calls)
    assert count >= 3
    assert threading.active_count() == 1 or len(calls) == count


def test_interrupted_wait_says_that_the_order_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt), said_to_go_on("plate"):
        raise KeyboardInterrupt
    assert "sightloop rollout status plate" in capsys.readouterr().err


def test_what_the_block_raises_goes_through() -> None:
    with pytest.raises(KeyboardInterrupt), repeated(lambda: None, every_s=0.001):
        raise KeyboardInterrupt


def test_order_from_a_folder_without_a_workspace_makes_none(tmp_path: Path) -> None:
    absent = tmp_path / ".sightloop"
    done = CliRunner().invoke(
        app, ["rollout", "start", "plate", "1.0.0", "--workspace", str(absent)]
    )
    assert done.exit_code != 0
    assert isinstance(done.exception, ReleaseNotFoundError)
    assert not absent.exists()
