import asyncio

from sightloop.serving.history import ReleaseId
from sightloop.serving.slot import RoutingTable, WorkerGroup, promoted, reloaded, swapped
from sightloop.serving.workers import Worker
from sightloop.testing.scripted_worker import ScriptedWorkers


def workers(count: int) -> list[Worker]:
    async def spawn() -> list[Worker]:
        source = ScriptedWorkers()
        made = [await source.spawn(lambda _: None) for _ in range(count)]
        for worker in made:
            await worker.stop(1.0)
            worker.alive = True
        await source.close()
        return made

    return asyncio.run(spawn())


def groups(count: int, *, size: int = 1) -> list[WorkerGroup]:
    made = iter(workers(count * size))
    return [
        WorkerGroup(
            ReleaseId(f"1.{number}.0", str(number) * 64), tuple(next(made) for _ in range(size))
        )
        for number in range(count)
    ]


def test_promotion_keeps_one_previous_and_names_who_is_replaced() -> None:
    a, b, c = groups(3)
    table, replaced = promoted(RoutingTable(a, b, 4), c)
    assert (table.champion, table.previous, table.order, replaced) == (c, a, 5, b)


def test_rollback_changes_places() -> None:
    a, b = groups(2)
    table = swapped(RoutingTable(a, b, 1))
    assert (table.champion, table.previous, table.order) == (b, a, 2)


def test_recovered_worker_takes_the_dead_ones_place_alone() -> None:
    a, b = groups(2, size=2)
    (fresh,) = workers(1)
    table = RoutingTable(a, b, 1)
    champion = reloaded(table, a.workers[1], fresh)
    previous = reloaded(table, b.workers[0], fresh)
    assert champion == RoutingTable(WorkerGroup(a.release, (a.workers[0], fresh)), b, 1)
    assert previous == RoutingTable(a, WorkerGroup(b.release, (fresh, b.workers[1])), 1)
    assert reloaded(RoutingTable(b, None, 1), a.workers[0], fresh) is None


def test_previous_answers_only_while_all_of_the_champions_workers_are_dead() -> None:
    a, b = groups(2, size=2)
    table = RoutingTable(a, b)
    a.workers[0].alive = False
    assert table.answering is a
    a.workers[1].alive = False
    assert table.answering is b
    for worker in b.workers:
        worker.alive = False
    assert table.answering is None


def test_least_loaded_living_worker_is_chosen_and_nobody_beyond_the_bound() -> None:
    (group,) = groups(1, size=3)
    first, second, third = group.workers
    first.alive = False

    def open_(end: object) -> None:
        """Nobody asks how it ended."""

    second._open = {1: open_}
    assert group.least_loaded() is third
    third._open = {1: open_, 2: open_}
    assert group.least_loaded() is second
    second._open = {1: open_, 2: open_}
    assert group.least_loaded() is None
    third.batch_max = 4
    assert group.least_loaded() is third
