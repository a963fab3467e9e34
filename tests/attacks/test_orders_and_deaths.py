"""Whatever operators and bad luck do to a line, in whatever order: what holds at every step."""

import asyncio
import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sightloop.errors import SightloopError
from sightloop.serving.asking import Ask
from sightloop.serving.lifecycle import ReleaseState
from sightloop.serving.slot import RoutingTable
from sightloop.testing.scripted_line import CONFIG, ScriptedLine, scripted_line, until
from sightloop.testing.scripted_worker import STATES, Script

LOADED = {ReleaseState.ACTIVE, ReleaseState.RETAINED, ReleaseState.FAILED}
ACTS = st.one_of(
    st.tuples(st.just("update"), st.integers(0, 3)),
    st.tuples(st.just("refused"), st.integers(0, 3)),
    st.tuples(st.just("dies"), st.sampled_from(range(len(STATES)))),
    st.tuples(st.just("second worker dies"), st.integers(0, 3)),
    st.tuples(st.just("rollback"), st.just(0)),
    st.tuples(st.just("kill champion"), st.integers(0, 1)),
    st.tuples(st.just("kill previous"), st.integers(0, 1)),
    st.tuples(st.just("kill standby"), st.just(0)),
    st.tuples(st.just("rollback during update"), st.integers(0, 3)),
    st.tuples(st.just("ask"), st.integers(1, 6)),
)


@dataclass(slots=True)
class World:
    """A line, and what was asked of it."""

    it: ScriptedLine
    next_minor: int = 1
    asked: list[asyncio.Task[str]] = field(default_factory=list)
    served: set[str] = field(default_factory=set)

    def note(self) -> None:
        self.served |= {group.release.semver for group in self.it.line.slot.table.groups}

    def semver(self) -> str:
        self.next_minor += 1
        return f"1.{self.next_minor}.0"

    async def ask(self) -> str:
        self.note()
        reply = await self.it.line.ask(Ask(b"frame", stream=f"camera-{len(self.asked) % 3}"))
        self.note()
        return str(json.loads(reply.body)["release"]["semver"])


async def act(world: World, name: str, number: int) -> None:
    it = world.it
    if name == "update":
        outcome = await it.orders.update(it.source(world.semver()))
        assert outcome.switched
    elif name in ("refused", "dies"):
        before = it.line.slot.table.order
        dies = STATES[number] if name == "dies" else None
        it.workers.script = Script(die_in=dies) if dies else Script(refuse_with="too_slow")
        outcome = await it.orders.update(it.source(world.semver()))
        it.workers.script = Script()
        assert not outcome.switched
        assert it.line.slot.table.order == before
    elif name == "second worker dies":
        it.workers.script_again = Script(die_in="LOADING")
        outcome = await it.orders.update(it.source(world.semver()))
        it.workers.script_again = None
        assert not outcome.switched
    elif name == "rollback":
        await roll_back(world)
    elif name == "rollback during update":
        update = asyncio.create_task(it.orders.update(it.source(world.semver())))
        for _ in range(number):
            await asyncio.sleep(0)
        await roll_back(world)
        await update
    elif name == "ask":
        world.asked += [asyncio.create_task(world.ask()) for _ in range(number)]
        await asyncio.sleep(0)
    elif name == "kill standby":
        pid = it.line.standby.pid
        if pid is not None:
            it.workers.die(pid)  # and the next act may meet it before its death is known
    else:
        kill(world, name.removeprefix("kill "), number)


async def roll_back(world: World) -> None:
    previous = world.it.line.slot.table.previous
    if previous is not None and previous.alive:
        outcome = await world.it.orders.rollback()
        assert outcome.switched


def kill(world: World, role: str, number: int) -> None:
    table = world.it.line.slot.table
    group = table.champion if role == "champion" else table.previous
    if group is not None:
        world.it.workers.die(group.workers[number].pid)


def check_table(table: RoutingTable) -> None:
    """Readers reach loaded releases alone, and no worker serves in two roles."""
    seen: set[int] = set()
    for group in table.groups:
        for worker in group.workers:
            assert worker.state in LOADED
            assert worker.release == group.release
            assert worker.pid not in seen
            seen.add(worker.pid)


def is_whole(world: World) -> bool:
    table = world.it.line.slot.table
    return all(len(group.living) == len(group.workers) for group in table.groups)


async def live_through(folder: Path, acts: list[tuple[str, int]]) -> None:
    config = CONFIG.model_copy(update={"workers": 2, "pending_max": 100})
    async with scripted_line(folder, config=config) as it:
        world = World(it)
        await it.orders.start(it.source("1.0.0"))
        for name, number in acts:
            await act(world, name, number)
            world.note()
            check_table(it.line.slot.table)
        await until(lambda: is_whole(world))
        answers = await asyncio.gather(*world.asked, return_exceptions=True)
        for answer in answers:
            assert not isinstance(answer, SightloopError), answer.reason
            assert answer in world.served
        table, record = it.line.slot.table, it.line.parts.history.record
        assert table.champion is not None
        assert table.champion.release == record.champion
        if table.previous is not None:
            assert table.previous.release == record.previous
        await until(lambda: living_workers(it) <= 2 * len(table.groups) + 1)


def living_workers(it: ScriptedLine) -> int:
    return sum(worker.alive for worker in it.line.workers)


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(st.lists(ACTS, max_size=10))
def test_no_order_and_no_death_loses_a_request_or_shows_an_unproven_release(
    acts: list[tuple[str, int]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(live_through(Path(folder), acts))
