import asyncio
from pathlib import Path

from sightloop.serving.slot import RoutingTable, promoted, reloaded, swapped
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


def test_promotion_keeps_one_previous_and_names_who_is_replaced(tmp_path: Path) -> None:
    a, b, c = workers(3)
    table, replaced = promoted(RoutingTable(a, b, 4), c)
    assert (table.champion, table.previous, table.order, replaced) == (c, a, 5, b)


def test_rollback_changes_places() -> None:
    a, b = workers(2)
    table = swapped(RoutingTable(a, b, 1))
    assert (table.champion, table.previous, table.order) == (b, a, 2)


def test_recovered_worker_takes_the_dead_ones_place_alone() -> None:
    a, b, fresh = workers(3)
    table = RoutingTable(a, b, 1)
    champion, previous = reloaded(table, a, fresh), reloaded(table, b, fresh)
    assert champion == RoutingTable(fresh, b, 1)
    assert previous == RoutingTable(a, fresh, 1)
    assert reloaded(RoutingTable(b, None, 1), a, fresh) is None


def test_previous_answers_only_while_the_champion_is_dead() -> None:
    a, b = workers(2)
    table = RoutingTable(a, b)
    assert table.answering is a
    a.alive = False
    assert table.answering is b
    b.alive = False
    assert table.answering is None
