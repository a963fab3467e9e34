from __future__ import annotations

from sightloop.pipeline.training.diary import Diary
from sightloop.pipeline.training.trainer import Recipe


def test_next_attempt_goes_on_counting_and_says_where_it_began() -> None:
    first = Diary(8, None)
    first.add({"train/loss": 2.0})
    first.add({"train/loss": 1.0})
    second = Diary(4, first.log())
    second.add({"train/loss": 0.5})
    results = second.results(Recipe(batch=8))
    assert [one["epoch"] for one in second.epochs] == [1, 2, 3]
    assert [one["metrics"] for one in second.epochs][2] == {"train/loss": 0.5, "train/batch": 4.0}
    assert results["resumed_after"] == [2]
    assert results["batch"] == 4
    assert Diary(4, second.log()).resumed_after == [2, 3]


def test_seconds_of_all_attempts_add_up() -> None:
    log = {"epochs": [], "seconds": 100.0, "resumed_after": []}
    assert Diary(8, log).seconds >= 100.0


def test_kept_log_is_not_changed_by_what_comes_after() -> None:
    diary = Diary(8, None)
    log = diary.log()
    diary.add({})
    assert log["epochs"] == []
