import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from sightloop.errors import (
    ReleaseNotFoundError,
    ReleaseNotReadyError,
    ServingError,
    UpdateInProgressError,
)
from sightloop.serving.asking import Ask
from sightloop.serving.history import Action, ReleaseId, SlotEvent
from sightloop.serving.order import OrderResult
from sightloop.serving.workers import Worker
from sightloop.telemetry.events import set_sink
from sightloop.testing.scripted_line import CONFIG, ScriptedLine, release_of, scripted_line, until
from sightloop.testing.scripted_worker import Script

ONE, TWO, THREE = (release_of(semver) for semver in ("1.0.0", "1.1.0", "1.2.0"))


def run(
    folder: Path, body: Callable[[ScriptedLine], Awaitable[None]], *, begin: bool = True
) -> None:
    async def main() -> None:
        async with scripted_line(folder) as it:
            if begin:
                await it.orders.start(it.source("1.0.0"))
            await body(it)

    asyncio.run(main())


async def semver_of_answer(it: ScriptedLine, image: bytes = b"frame") -> str:
    reply = await it.line.ask(Ask(image))
    return str(json.loads(reply.body)["release"]["semver"])


def test_passed_candidate_serves_and_the_champion_becomes_previous(tmp_path: Path) -> None:
    async def body(it: ScriptedLine) -> None:
        outcome = await it.orders.update(it.source("1.1.0"))
        assert outcome.switched
        assert await semver_of_answer(it) == "1.1.0"
        record = it.line.parts.history.record
        assert (record.champion, record.previous) == (TWO, ONE)

    run(tmp_path, body)


@pytest.mark.parametrize(
    ("script", "gate", "reason"),
    [
        (Script(refuse_with="systematic_offset"), "behaviour", "systematic_offset"),
        (Script(die_in="LOADING"), "load", "candidate_died"),
        (Script(die_in="GATING"), "load", "candidate_died"),
        (Script(say_state=["ACTIVE"]), "load", "candidate_died"),
    ],
)
def test_failed_candidate_leaves_champion_serving(
    tmp_path: Path, script: Script, gate: str, reason: str
) -> None:
    async def body(it: ScriptedLine) -> None:
        before = it.line.slot.table
        it.workers.script = script
        outcome = await it.orders.update(it.source("1.1.0"))
        assert outcome.refusal is not None
        assert (outcome.refusal.gate, outcome.refusal.reason) == (gate, reason)
        assert it.line.slot.table is before
        assert await semver_of_answer(it) == "1.0.0"
        events = await it.line.parts.history.events()
        assert (events[-1].action, events[-1].reason) == (Action.REFUSED, reason)

    run(tmp_path, body)


def test_order_that_meets_a_standby_killed_a_moment_ago_is_carried_out_by_another(
    tmp_path: Path,
) -> None:
    async def body(it: ScriptedLine) -> None:
        await until(lambda: it.line.standby.pid is not None)
        killed = it.line.standby.pid
        assert killed is not None
        it.workers.die(killed)
        assert it.line.standby.pid == killed, "its death is not known yet"
        events: list[Mapping[str, object]] = []
        set_sink(events.append)
        outcome = await it.orders.update(it.source("1.1.0"))
        assert outcome.switched, outcome.refusal
        assert await semver_of_answer(it) == "1.1.0"
        replaced = {"event": "standby_replaced", "line": "plate", "pid": killed}
        assert [event for event in events if event["event"] == "standby_replaced"] == [replaced]

    try:
        run(tmp_path, body)
    finally:
        set_sink(None)


@pytest.mark.parametrize(("state", "orders"), [("ORDERED", 2), ("VERIFYING", 1)])
def test_candidate_that_ends_workers_is_tried_again_only_if_nothing_of_it_was_read(
    tmp_path: Path, state: str, orders: int
) -> None:
    async def body(it: ScriptedLine) -> None:
        it.workers.script = Script(die_in=state)
        before = len(it.workers.orders)
        outcome = await it.orders.update(it.source("1.1.0"))
        assert outcome.refusal is not None
        assert outcome.refusal.reason == "candidate_died"
        assert len(it.workers.orders) - before == orders
        assert await semver_of_answer(it) == "1.0.0"

    run(tmp_path, body)


def test_candidate_that_hangs_is_killed_and_refused(tmp_path: Path) -> None:
    async def main() -> None:
        config = CONFIG.model_copy(update={"candidate_timeout_s": 0.05})
        async with scripted_line(tmp_path, config=config) as it:
            await it.orders.start(it.source("1.0.0"))
            it.workers.script = Script(hang_in="WARMING")
            outcome = await it.orders.update(it.source("1.1.0"))
            assert outcome.refusal is not None
            assert outcome.refusal.reason == "candidate_timed_out"
            assert len(it.workers.killed) == 1
            assert await semver_of_answer(it) == "1.0.0"

    asyncio.run(main())


def test_engine_that_is_not_built_in_time_costs_the_candidate_alone(tmp_path: Path) -> None:
    async def main() -> None:
        config = CONFIG.model_copy(update={"build_timeout_s": 0.05})
        async with scripted_line(tmp_path, config=config) as it:
            await it.orders.start(it.source("1.0.0"))
            it.workers.script = Script(build=True, hang_in="BUILDING")
            outcome = await it.orders.update(it.source("1.1.0"))
            assert outcome.refusal is not None
            assert outcome.refusal.reason == "candidate_timed_out"
            assert "not built after 0.05 s" in outcome.refusal.message
            assert await semver_of_answer(it) == "1.0.0"

    asyncio.run(main())


def test_champion_serves_while_an_engine_is_built_and_the_order_goes_on_after(
    tmp_path: Path,
) -> None:
    async def body(it: ScriptedLine) -> None:
        built = asyncio.Event()
        it.workers.script = Script(build=True, hang_in="BUILDING", resume=built)
        update = asyncio.create_task(it.orders.update(it.source("1.1.0")))
        await until(lambda: it.line.candidate and it.line.candidate.state == "BUILDING")
        assert await semver_of_answer(it) == "1.0.0"
        built.set()
        assert (await update).switched
        assert await semver_of_answer(it) == "1.1.0"

    run(tmp_path, body)


def test_readers_reach_a_candidate_only_after_it_is_ready(tmp_path: Path) -> None:
    async def body(it: ScriptedLine) -> None:
        it.workers.script = Script(hang_in="GATING")
        update = asyncio.create_task(it.orders.update(it.source("1.1.0")))
        await until(lambda: it.line.candidate and it.line.candidate.state == "GATING")
        assert it.line.candidate is not None
        assert it.line.slot.table.role_of(it.line.candidate) is None
        assert await semver_of_answer(it) == "1.0.0"
        update.cancel()
        await asyncio.wait([update])

    run(tmp_path, body)


def test_answer_names_the_release_that_computed_it_across_a_switch(tmp_path: Path) -> None:
    async def body(it: ScriptedLine) -> None:
        release = asyncio.Event()
        champion = it.line.slot.table.champion
        assert champion is not None
        await it.orders.update(it.source("1.1.0"))
        it.workers.script = Script(hold=release)
        await it.orders.update(it.source("1.2.0"))
        in_flight = asyncio.create_task(semver_of_answer(it))
        await asyncio.sleep(0)
        it.workers.script = Script()
        await it.orders.update(it.source("1.3.0"))
        assert await semver_of_answer(it) == "1.3.0"
        release.set()
        assert await in_flight == "1.2.0"

    run(tmp_path, body)


def test_replaced_release_is_stopped_only_after_its_last_lease(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leases_at_stop: dict[ReleaseId | None, int] = {}
    stop = Worker.stop

    async def watched(worker: Worker, limit_s: float) -> None:
        leases_at_stop[worker.release] = worker.leases
        await stop(worker, limit_s)

    async def body(it: ScriptedLine) -> None:
        release = asyncio.Event()
        it.workers.script = Script(hold=release)
        await it.orders.update(it.source("1.1.0"))
        replaced = it.line.slot.table.champion
        assert replaced is not None
        in_flight = asyncio.create_task(semver_of_answer(it))
        await asyncio.sleep(0)
        it.workers.script = Script()
        await it.orders.update(it.source("1.2.0"))
        await it.orders.update(it.source("1.3.0"))
        (worker,) = replaced.workers
        await until(lambda: "1.0.0" in it.workers.stopped and worker.state == "DRAINING")
        for _ in range(20):  # turns of the loop in which a hasty stop would have been sent
            await asyncio.sleep(0)
        assert TWO not in leases_at_stop
        release.set()
        assert await in_flight == "1.1.0"
        await until(lambda: "1.1.0" in it.workers.stopped)
        assert leases_at_stop[TWO] == 0

    monkeypatch.setattr(Worker, "stop", watched)
    run(tmp_path, body)


def test_exactly_one_previous_is_kept(tmp_path: Path) -> None:
    async def body(it: ScriptedLine) -> None:
        for semver in ("1.1.0", "1.2.0", "1.3.0"):
            await it.orders.update(it.source(semver))
        await until(lambda: it.workers.stopped == ["1.0.0", "1.1.0"])
        previous = it.line.slot.table.previous
        assert previous is not None
        assert previous.release == THREE

    run(tmp_path, body)


def test_update_to_the_champion_itself_is_refused(tmp_path: Path) -> None:
    async def body(it: ScriptedLine) -> None:
        await it.orders.update(it.source("1.1.0"))
        before = it.line.slot.table
        outcome = await it.orders.update(it.source("1.1.0"))
        assert outcome.refusal is not None
        assert outcome.refusal.reason == "already_champion"
        assert it.line.slot.table is before

    run(tmp_path, body)


def test_second_update_is_refused_while_one_runs(tmp_path: Path) -> None:
    async def body(it: ScriptedLine) -> None:
        it.workers.script = Script(hang_in="LOADING")
        first = asyncio.create_task(it.orders.update(it.source("1.1.0")))
        await until(lambda: it.line.candidate is not None)
        with pytest.raises(UpdateInProgressError):
            await it.orders.update(it.source("1.2.0"))
        first.cancel()
        await asyncio.wait([first])

    run(tmp_path, body)


def test_rollback_returns_to_the_previous_and_back(tmp_path: Path) -> None:
    async def body(it: ScriptedLine) -> None:
        await it.orders.update(it.source("1.1.0"))
        outcome = await it.orders.rollback()
        assert outcome.release == ONE
        assert await semver_of_answer(it) == "1.0.0"
        await it.orders.rollback()
        assert await semver_of_answer(it) == "1.1.0"
        assert it.workers.stopped == []

    run(tmp_path, body)


def test_rollback_without_a_previous_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    async def body(it: ScriptedLine) -> None:
        before = it.line.slot.table
        with pytest.raises(ReleaseNotReadyError, match="previous release"):
            await it.orders.rollback()
        assert it.line.slot.table is before

    run(tmp_path, body)


def test_rollback_by_digest_goes_through_the_gates(tmp_path: Path) -> None:
    async def body(it: ScriptedLine) -> None:
        await it.orders.update(it.source("1.1.0"))
        await it.orders.update(it.source("1.2.0"))
        outcome = await it.orders.rollback(ONE.digest)
        assert outcome.switched
        assert it.workers.orders[-1].gated
        assert await semver_of_answer(it) == "1.0.0"
        with pytest.raises(ReleaseNotFoundError, match="history"):
            await it.orders.rollback("f" * 64)

    run(tmp_path, body)


def test_rollback_wins_over_a_running_update(tmp_path: Path) -> None:
    async def body(it: ScriptedLine) -> None:
        await it.orders.update(it.source("1.1.0"))
        it.workers.script = Script(hang_in="GATING")
        update = asyncio.create_task(it.orders.update(it.source("1.2.0")))
        await until(lambda: it.line.candidate and it.line.candidate.state == "GATING")
        await it.orders.rollback()
        number = it.line.slot.table.order
        candidate = it.line.candidate
        assert candidate is not None
        assert candidate._result is not None
        candidate._result.set_result(OrderResult(THREE, (), admitted=True))
        outcome = await update
        assert outcome.refusal is not None
        assert outcome.refusal.reason == "superseded"
        assert it.line.slot.table.order == number
        assert await semver_of_answer(it) == "1.0.0"

    run(tmp_path, body)


def fail_writes(it: ScriptedLine, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(line: str, event: SlotEvent) -> None:
        raise OperationalError("insert", {}, OSError("database or disk is full"))

    monkeypatch.setattr(it.store, "append", full)


def test_update_that_cannot_be_written_down_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(it: ScriptedLine) -> None:
        before = it.line.slot.table
        fail_writes(it, monkeypatch)
        with pytest.raises(ServingError, match="disk is full") as caught:
            await it.orders.update(it.source("1.1.0"))
        assert caught.value.reason == "history_not_saved"
        assert it.line.slot.table is before
        await until(lambda: "1.1.0" in it.workers.stopped)

    run(tmp_path, body)


def test_rollback_works_on_a_full_disk_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(it: ScriptedLine) -> None:
        await it.orders.update(it.source("1.1.0"))
        fail_writes(it, monkeypatch)
        outcome = await it.orders.rollback()
        assert outcome.warning is not None
        assert "disk is full" in outcome.warning
        assert await semver_of_answer(it) == "1.0.0"

    run(tmp_path, body)


def test_restart_comes_back_with_champion_and_previous_ungated(tmp_path: Path) -> None:
    async def first(it: ScriptedLine) -> None:
        await it.orders.update(it.source("1.1.0"))

    async def second(it: ScriptedLine) -> None:
        assert await it.orders.start(it.source("9.9.9")) is None
        assert await semver_of_answer(it) == "1.1.0"
        await until(lambda: it.line.slot.table.previous is not None)
        previous = it.line.slot.table.previous
        assert previous is not None
        assert previous.release == ONE
        assert [order.gated for order in it.workers.orders] == [False, False]

    run(tmp_path, first)
    run(tmp_path, second, begin=False)


def test_line_without_history_or_release_does_not_start(tmp_path: Path) -> None:
    async def body(it: ScriptedLine) -> None:
        with pytest.raises(ReleaseNotFoundError, match="--release"):
            await it.orders.start(None)

    run(tmp_path, body, begin=False)


def test_verdicts_and_roles_are_metrics(tmp_path: Path) -> None:
    async def body(it: ScriptedLine) -> None:
        await it.orders.update(it.source("1.1.0"))
        it.workers.script = Script(refuse_with="too_slow")
        await it.orders.update(it.source("1.2.0"))
        text = it.metrics.as_text().decode()
        one, two = "100000000000", "110000000000"
        info, line = "sightloop_release_info", 'line="plate"'
        for sample in (
            f'{info}{{digest="{two}",{line},role="champion",semver="1.1.0"}} 1.0',
            f'{info}{{digest="{one}",{line},role="previous",semver="1.0.0"}} 1.0',
            f'sightloop_updates_total{{action="update",{line},outcome="refused"}} 1.0',
            f'gate="behaviour",{line},outcome="FAIL",reason="too_slow"}} 1.0',
            f'sightloop_update_state_seconds_count{{{line},state="WARMING"}} 3.0',
        ):
            assert sample in text

    run(tmp_path, body)
