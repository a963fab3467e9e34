from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sightloop._support.clock import SystemClock
from sightloop.demo.outcome import Outcome, ReleaseFacts, lines_of, summarise
from sightloop.demo.refused_release import RefusedRelease, SliceRow
from sightloop.demo.timeline import Act, Refusal, Timeline
from sightloop.testing.camera import FrameRecord
from sightloop.testing.checker import CheckResult, Switch
from sightloop.testing.figures import UpdateFigures

CHECK = CheckResult(sent=100, answered=100, checked=100, lost=0, mixed=0, stale=0, faults=())
FIGURES = UpdateFigures(
    steady_p50_ms=8.0,
    steady_p99_ms=10.0,
    update_p50_ms=8.0,
    update_p99_ms=12.0,
    worst_over_steady_max_ms=5.0,
    steady_frames=50,
    update_frames=50,
)
REFUSAL = Refusal(
    candidate="shifted",
    story="moved",
    gate="behaviour",
    reason="systematic_offset",
    message="moved by 2 px",
    measurements={"offset_x_px": 2.0},
    expected_gate="behaviour",
    expected_reasons=frozenset({"systematic_offset"}),
    champion_kept=True,
    order_s=1.0,
    seconds=0.5,
)
RELEASES = (
    ReleaseFacts("1.0.0", "a" * 64, 0.88, 0.05, {"scratch": 0.7}, 50.0),
    ReleaseFacts("1.1.0", "b" * 64, 0.97, 0.80, {"scratch": 0.95}, 30.0),
)
GOOD = Outcome(
    quick=False,
    releases=RELEASES,
    check=CHECK,
    figures=FIGURES,
    training_p99_ms=14.0,
    rollbacks_ms=(3.0, 4.0),
    updates=20,
    refusals=(REFUSAL,) * 6,
    duration_s=280.0,
)
KEYS = (
    "frames_sent",
    "frames_answered",
    "frames_checked",
    "frames_lost",
    "frames_mixed",
    "frames_stale_after_ack",
    "updates",
    "refused",
    "steady_p99_ms",
    "update_p99_ms",
    "training_p99_ms",
    "worst_over_steady_max_ms",
    "rollback_ms",
    "map50",
    "map50_new_scratch",
    "duration_s",
)


class SilentScreen:
    def act(self, text: str) -> None: ...

    def note(self, text: str) -> None: ...

    def progress(self, done: int, total: int) -> None: ...


def test_everything_as_it_should_be_keeps_every_promise_and_target() -> None:
    assert GOOD.kept
    assert all(line.kept for line in lines_of(GOOD))


@pytest.mark.parametrize(
    "change",
    [
        {"check": replace(CHECK, lost=1, answered=99, checked=99)},
        {"check": replace(CHECK, mixed=1)},
        {"check": replace(CHECK, stale=1)},
        {"check": replace(CHECK, checked=99)},
        {"check": replace(CHECK, sent=0, answered=0, checked=0)},
        {"refusals": (REFUSAL,) * 5},
        {"refusals": (*(REFUSAL,) * 5, replace(REFUSAL, gate="none", reason="not_refused"))},
        {"refusals": (*(REFUSAL,) * 5, replace(REFUSAL, gate="latency"))},
        {"refusals": (*(REFUSAL,) * 5, replace(REFUSAL, reason="labels_missed"))},
        {"refusals": (*(REFUSAL,) * 5, replace(REFUSAL, champion_kept=False))},
    ],
)
def test_one_broken_promise_fails_the_demo(change: dict[str, Any]) -> None:
    assert not replace(GOOD, **change).kept


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"figures": replace(FIGURES, update_p99_ms=12.6)}, "p99 of 20 updates"),
        ({"rollbacks_ms": (3.0, 10.1)}, "rollback"),
        ({"releases": (replace(RELEASES[0], map50=0.79), RELEASES[1])}, "mAP50 of 1.0.0"),
        ({"releases": (RELEASES[0], replace(RELEASES[1], map50=0.79))}, "mAP50 of 1.1.0"),
        ({"releases": (RELEASES[0], replace(RELEASES[1], map50_new_scratch=0.14))}, "new scratch"),
        ({"duration_s": 361.0}, "the whole demo"),
    ],
)
def test_a_missed_target_is_shown_and_does_not_fail_the_demo(
    change: dict[str, Any], what: str
) -> None:
    outcome = replace(GOOD, **change)
    assert outcome.kept
    (missed,) = [line for line in lines_of(outcome) if not line.kept]
    assert what in missed.what
    assert not missed.promise


def test_report_json_holds_what_is_promised() -> None:
    value: dict[str, Any] = GOOD.as_dict()
    assert [key for key in KEYS if key not in value] == []
    assert (
        value["refused"][0].items()
        >= {
            "candidate": "shifted",
            "gate": "behaviour",
            "reason": "systematic_offset",
        }.items()
    )
    assert value["rollback_ms"] == 4.0
    assert value["map50_new_scratch"] == {"1.0.0": 0.05, "1.1.0": 0.8}
    assert value["updates"] == 20


def _record(due_s: float, latency_ms: float) -> FrameRecord:
    return FrameRecord(0, 0, due_s, due_s, due_s + latency_ms / 1000, 200, {})


def test_training_figures_come_from_frames_due_while_it_ran() -> None:
    timeline = Timeline(SystemClock(), SilentScreen())
    timeline.acts.append(Act("train", "training", 5.0, 6.0))
    timeline.updates.append(Switch(order_s=20.0, ack_s=21.0, digest="b"))
    timeline.rollbacks.append(Switch(order_s=30.0, ack_s=30.004, digest="a"))
    timeline.refusals.append(REFUSAL)
    records = [_record(at, ms) for at, ms in ((4.9, 99), (5.5, 30), (19.0, 10), (20.5, 20))]
    outcome = summarise(timeline, records, CHECK, releases=RELEASES, quick=False, duration_s=40.0)
    assert outcome.training_p99_ms == pytest.approx(30.0)
    assert outcome.figures.update_p99_ms == pytest.approx(20.0)
    assert outcome.rollbacks_ms == pytest.approx((4.0,))
    assert outcome.updates == 1


def test_a_training_from_the_cache_has_no_latency_beside_it() -> None:
    timeline = Timeline(SystemClock(), SilentScreen())
    timeline.acts.append(Act("train", "training", 5.0, 6.0))
    timeline.updates.append(Switch(order_s=20.0, ack_s=21.0, digest="b"))
    records = [_record(at, 10.0) for at in (5.5, 19.0, 20.5)]
    cached = (RELEASES[0], replace(RELEASES[1], train_s=None))
    outcome = summarise(timeline, records, CHECK, releases=cached, quick=False, duration_s=40.0)
    assert outcome.training_p99_ms is None


DARK = SliceRow("light=dark", 60, 0.97, 0.65, 0.0001, dropped=True)
WHOLE = SliceRow("all", 400, 0.85, 0.9, 1.0, dropped=False)
REFUSED = RefusedRelease(
    champion="1.1.0",
    semver="1.2.0",
    gate="quality",
    reason="slice_dropped",
    message="fewer found at night",
    map50=(0.95, 0.96),
    slices=(WHOLE, DARK),
    lost=(),
    champion_kept=True,
    page=None,
)


def _line(outcome: Outcome, beginning: str) -> Any:
    return next(line for line in lines_of(outcome) if line.what.startswith(beginning))


def test_the_release_refused_for_the_night_has_its_targets() -> None:
    outcome = replace(GOOD, refused_release=REFUSED)
    assert _line(outcome, "1.2.0, recall at night").kept
    assert _line(outcome, "1.2.0, recall over all").kept
    assert "0.97 → 0.65" in _line(outcome, "1.2.0, recall at night").found
    let_through = replace(GOOD, refused_release=replace(REFUSED, gate="none"))
    assert not _line(let_through, "1.2.0, recall at night").kept
    assert not any(line.what.startswith("1.2.0") for line in lines_of(GOOD))
    value: Any = outcome.as_dict()["refused_release"]
    assert value["dropped"] == ["light=dark"]


def test_the_second_time_has_its_own_limit() -> None:
    again = replace(GOOD, cached=True, duration_s=89.0)
    assert _line(again, "the demo again, by the cache").kept
    assert not _line(replace(again, duration_s=91.0), "the demo again").kept
