from pathlib import Path

import pytest

from sightloop.errors import ConfigError
from sightloop.serving.tuning import (
    Measured,
    Setting,
    choose,
    keep_tuning,
    settings_for,
    tuned,
    untuned,
)

ONE, PAIR, WIDE = Setting(1, 1), Setting(2, 1), Setting(1, 2)
MEASURED = (
    Measured(ONE, rps=60.0, p50_ms=16.0),
    Measured(WIDE, rps=90.0, p50_ms=10.0),
    Measured(PAIR, rps=115.0, p50_ms=16.5),
)


def test_settings_never_ask_for_more_than_the_cores() -> None:
    assert settings_for(1) == (ONE,)
    assert settings_for(2) == (ONE, WIDE, PAIR)
    assert all(one.workers * one.threads <= 6 for one in settings_for(6))
    assert Setting(4, 1) in settings_for(6)


def test_choice_is_the_best_for_its_goal() -> None:
    assert choose(MEASURED, "latency") == WIDE
    assert choose(MEASURED, "throughput") == PAIR


def test_larger_setting_that_is_hardly_better_is_not_chosen() -> None:
    close = (Measured(ONE, 60.0, 16.0), Measured(PAIR, 61.0, 15.9))
    assert choose(close, "latency") == ONE
    assert choose(close, "throughput") == ONE
    with pytest.raises(ValueError, match="at least one"):
        choose((), "latency")


def test_tuning_counts_for_its_line_on_its_hardware_alone(tmp_path: Path) -> None:
    path = tmp_path / "tuning.json"
    assert tuned(path, "plate", hardware="this", goal="latency") is None
    keep_tuning(path, "plate", hardware="this", measured=MEASURED)
    keep_tuning(path, "weld", hardware="this", measured=MEASURED[:1])
    assert tuned(path, "plate", hardware="this", goal="throughput") == PAIR
    assert tuned(path, "weld", hardware="this", goal="throughput") == ONE
    assert tuned(path, "plate", hardware="other", goal="throughput") is None
    assert untuned(4, "throughput") == Setting(4, 1)
    assert untuned(4, "latency") == ONE


def test_unreadable_tuning_says_how_to_mend_it(tmp_path: Path) -> None:
    path = tmp_path / "tuning.json"
    path.write_text("{")
    with pytest.raises(ConfigError, match="bench tune") as caught:
        tuned(path, "plate", hardware="this", goal="latency")
    assert caught.value.reason == "tuning_unreadable"
