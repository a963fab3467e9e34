from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from sightloop._support.database import open_sqlite
from sightloop.release.verdict import Outcome, Verdict
from sightloop.serving.history import Action, HistoryStore, ReleaseId, SlotEvent, fold

A, B, C = (ReleaseId(f"1.{n}.0", str(n) * 64) for n in range(3))


def event(action: Action, release: ReleaseId | None) -> SlotEvent:
    return SlotEvent(at="2026-01-01T00:00:00.000Z", action=action, release=release)


def test_update_makes_the_champion_previous() -> None:
    record = fold([event(Action.START, A), event(Action.UPDATE, B)])
    assert (record.champion, record.previous) == (B, A)


def test_rollback_swaps_champion_and_previous() -> None:
    events = [event(Action.START, A), event(Action.UPDATE, B), event(Action.ROLLBACK, A)]
    record = fold(events)
    assert (record.champion, record.previous) == (A, B)


def test_refused_release_is_neither_champion_nor_accepted() -> None:
    record = fold([event(Action.START, A), event(Action.REFUSED, C)])
    assert record.champion == A
    assert record.accepted == (A,)


def test_highest_semver_orders_by_number_not_by_text() -> None:
    ten = ReleaseId("1.10.0", "d" * 64)
    record = fold([event(Action.START, ReleaseId("1.9.0", "e" * 64)), event(Action.UPDATE, ten)])
    assert record.highest_semver == "1.10.0"


@given(st.lists(st.tuples(st.sampled_from(Action), st.sampled_from([A, B, C, None]))))
def test_champion_is_the_release_of_the_last_switch(
    steps: list[tuple[Action, ReleaseId | None]],
) -> None:
    record = fold([event(action, release) for action, release in steps])
    switching = {Action.START, Action.UPDATE, Action.ROLLBACK}
    switched = [release for action, release in steps if action in switching and release]
    assert record.champion == (switched[-1] if switched else None)
    assert record.previous is None or record.previous != record.champion
    assert set(record.accepted) == set(switched)


def test_history_survives_a_restart(tmp_path: Path) -> None:
    verdict = Verdict("latency", Outcome.FAIL, "too_slow", "twice", {"ratio": 2.0})
    events = (
        event(Action.START, A),
        SlotEvent("2026-01-01T00:00:01.000Z", Action.REFUSED, B, "too_slow", (verdict,)),
    )
    store = HistoryStore(open_sqlite(tmp_path / "serving.db"))
    for one in events:
        store.append("plate", one)
    store.append("other", event(Action.START, C))
    store.close()
    again = HistoryStore(open_sqlite(tmp_path / "serving.db"))
    assert again.events("plate") == events
    assert again.lines() == ("other", "plate")
    again.close()
