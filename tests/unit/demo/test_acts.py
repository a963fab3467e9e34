from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self, cast

import pytest

from sightloop._support.clock import SystemClock
from sightloop.client.http_client import Client
from sightloop.demo.acts import Operator, go_back_and_forth, refuse_all, roll_back_and_forward
from sightloop.demo.candidates import BadCandidate
from sightloop.demo.timeline import Timeline
from sightloop.errors import ServingError

CANDIDATE = BadCandidate(
    "shifted", "moved", Path("bundle"), gate="behaviour", reasons=frozenset({"systematic_offset"})
)


class SilentScreen:
    def act(self, text: str) -> None: ...

    def note(self, text: str) -> None: ...

    def progress(self, done: int, total: int) -> None: ...


class FastClock(SystemClock):
    """The machine's clock, but nobody waits."""

    def sleep_s(self, seconds: float) -> None: ...


class FakeServer:
    """Stands for a server and its client: answers orders as told."""

    def __init__(self, outcomes: list[dict[str, Any]] | None = None) -> None:
        self.outcomes = outcomes or []
        self.champion = "first"
        self.previous = "second"
        self.candidate: dict[str, Any] | None = None
        self.orders: list[Any] = []

    def connect(self) -> Client:
        return cast(Client, self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def status(self, line: str) -> dict[str, Any]:
        champion = {"release": {"digest": self.champion}}
        return {"line": line, "champion": champion, "candidate": self.candidate}

    def update(
        self, line: str, *, bundle: Path | None = None, digest: str | None = None
    ) -> dict[str, Any]:
        self.orders.append(digest or bundle)
        outcome = self.outcomes.pop(0) if self.outcomes else _switched(digest or "new")
        if outcome["state"] == "ACTIVE":
            self.champion = outcome["release"]["digest"]
        return outcome

    def rollback(self, line: str) -> dict[str, Any]:
        self.champion, self.previous = self.previous, self.champion
        return _switched(self.champion)


def _switched(digest: str) -> dict[str, Any]:
    return {"state": "ACTIVE", "release": {"digest": digest}, "refused": None}


def _refused(gate: str, reason: str) -> dict[str, Any]:
    verdict = {"gate": gate, "reason": reason, "message": "no", "measurements": {"offset_px": 2.0}}
    return {"state": "FAILED", "release": None, "refused": verdict}


@pytest.fixture
def timeline() -> Timeline:
    return Timeline(FastClock(), SilentScreen())


def _operator(server: FakeServer, timeline: Timeline) -> Operator:
    return Operator(server.connect, "line", timeline)


def test_a_candidate_stopped_where_it_was_meant_to_be_is_as_expected(timeline: Timeline) -> None:
    server = FakeServer([_refused("behaviour", "systematic_offset")])
    refuse_all(_operator(server, timeline), [CANDIDATE], timeline)
    (refusal,) = timeline.refusals
    assert refusal.as_expected
    assert refusal.measurements == {"offset_px": 2.0}
    assert timeline.switches == []


@pytest.mark.parametrize(
    ("gate", "reason"), [("latency", "too_slow"), ("behaviour", "labels_missed")]
)
def test_a_candidate_stopped_elsewhere_is_not_as_expected(
    gate: str, reason: str, timeline: Timeline
) -> None:
    operator = _operator(FakeServer([_refused(gate, reason)]), timeline)
    assert not operator.try_candidate(CANDIDATE).as_expected


def test_a_candidate_let_through_is_shown_and_serves_from_then_on(timeline: Timeline) -> None:
    operator = _operator(FakeServer([_switched("bad")]), timeline)
    refusal = operator.try_candidate(CANDIDATE)
    assert (refusal.gate, refusal.reason) == ("none", "not_refused")
    assert not refusal.as_expected
    assert not refusal.champion_kept
    assert [one.digest for one in timeline.switches] == ["bad"]


def test_a_refusal_that_changes_the_champion_is_not_as_expected(timeline: Timeline) -> None:
    class Careless(FakeServer):
        def update(self, line: str, **order: Any) -> dict[str, Any]:
            self.champion = "somebody else"
            return _refused("behaviour", "systematic_offset")

    assert not _operator(Careless(), timeline).try_candidate(CANDIDATE).as_expected


def test_a_good_release_that_is_refused_ends_the_demo(timeline: Timeline) -> None:
    operator = _operator(FakeServer([_refused("latency", "too_slow")]), timeline)
    with pytest.raises(ServingError, match=r"latency \(too_slow\)"):
        operator.update(Path("good"))


def test_updates_go_back_and_forth_and_end_where_they_began(timeline: Timeline) -> None:
    server = FakeServer()
    go_back_and_forth(_operator(server, timeline), ("here", "there"), timeline, count=4)
    assert server.orders == ["there", "here", "there", "here"]
    assert [one.digest for one in timeline.updates] == server.orders
    assert timeline.switches == timeline.updates


def test_a_rollback_is_rolled_forward_again(timeline: Timeline) -> None:
    server = FakeServer()
    roll_back_and_forward(_operator(server, timeline), timeline)
    assert [one.digest for one in timeline.rollbacks] == ["second", "first"]
    assert timeline.switches == timeline.rollbacks


@pytest.fixture
def victim() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def test_the_candidate_is_killed_in_its_state_loading(
    timeline: Timeline, victim: subprocess.Popen[bytes]
) -> None:
    class Loading(FakeServer):
        def __init__(self) -> None:
            super().__init__()
            self.looks = 0

        def status(self, line: str) -> dict[str, Any]:
            self.looks += 1
            state = "LOADING" if self.looks > 4 else "VERIFYING"
            self.candidate = {"pid": victim.pid, "state": state}
            return super().status(line)

        def update(self, line: str, **order: Any) -> dict[str, Any]:
            assert victim.wait(30) == -signal.SIGKILL
            return _refused("load", "candidate_died")

    candidate = BadCandidate(
        "killed", "", Path("b"), gate="load", reasons=frozenset({"candidate_died"}), killed=True
    )
    refusal = _operator(Loading(), timeline).try_candidate(candidate)
    assert refusal.as_expected
    assert refusal.measurements["killed_in_state"] == "LOADING"
    assert refusal.measurements["killed_pid"] == victim.pid
