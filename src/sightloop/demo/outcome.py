"""What the demo found: report.json, and which promises were kept. Pure.

A *promise* broken makes the demo fail; a *target* missed is shown and does not, because it
depends on what else the machine does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sightloop.demo.candidates import COUNT as BAD_CANDIDATES
from sightloop.demo.refused_release import ALL, DARK, RefusedRelease, SliceRow
from sightloop.demo.timeline import Refusal, Timeline
from sightloop.testing.camera import FrameRecord
from sightloop.testing.checker import CheckResult
from sightloop.testing.figures import (
    UpdateFigures,
    latencies_in,
    percentile,
    update_figures,
)

MAP50_MIN: Final = 0.80
NEW_SCRATCH_GAIN_MIN: Final = 0.10
P99_RATIO_MAX: Final = 1.25
ROLLBACK_MAX_MS: Final = 10.0
DURATION_MAX_S: Final = 360.0
RERUN_MAX_S: Final = 90.0
QUICK_MAX_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the final table.

    Attributes:
        what: What was promised or aimed at.
        expected: In words.
        found: In words.
        kept: Whether it holds.
        promise: True: the demo fails without it. False: a target.
    """

    what: str
    expected: str
    found: str
    kept: bool
    promise: bool


@dataclass(frozen=True, slots=True)
class ReleaseFacts:
    """A release of the demo and what it is worth.

    Attributes:
        semver: Its version.
        digest: Its digest.
        map50: On the frozen test set.
        map50_new_scratch: AP50 of the new kind of scratch; None where the set has none.
        ap50: By class name.
        train_s: How long its training took; None if it was not trained here.
    """

    semver: str
    digest: str
    map50: float
    map50_new_scratch: float | None
    ap50: Mapping[str, float | None]
    train_s: float | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """Everything the demo measured.

    Attributes:
        quick: Whether it was the quick demo.
        releases: First and second release.
        check: Of every answer.
        figures: Of the updates back and forth.
        training_p99_ms: While the second release was trained; None if it came from the cache.
        rollbacks_ms: Order to acknowledgement, of each.
        updates: Measured updates.
        refusals: How the bad candidates ended.
        duration_s: Of the whole demo, this computation apart.
        refused_release: How 1.2.0 ended; None in the quick demo.
        cached: Whether every training came from the cache.
    """

    quick: bool
    releases: tuple[ReleaseFacts, ReleaseFacts]
    check: CheckResult
    figures: UpdateFigures
    training_p99_ms: float | None
    rollbacks_ms: tuple[float, ...]
    updates: int
    refusals: tuple[Refusal, ...]
    duration_s: float
    refused_release: RefusedRelease | None = None
    cached: bool = False

    @property
    def kept(self) -> bool:
        """Whether every promise holds."""
        return all(line.kept for line in lines_of(self) if line.promise)

    def as_dict(self) -> dict[str, object]:
        """report.json."""
        check, figures = self.check, self.figures
        return {
            "quick": self.quick,
            "kept": self.kept,
            "frames_sent": check.sent,
            "frames_answered": check.answered,
            "frames_checked": check.checked,
            "frames_lost": check.lost,
            "frames_mixed": check.mixed,
            "frames_stale_after_ack": check.stale,
            "faults": list(check.faults),
            "updates": self.updates,
            "refused": [_refusal_dict(one) for one in self.refusals],
            "steady_p50_ms": round(figures.steady_p50_ms, 3),
            "steady_p99_ms": round(figures.steady_p99_ms, 3),
            "update_p50_ms": round(figures.update_p50_ms, 3),
            "update_p99_ms": round(figures.update_p99_ms, 3),
            "p99_ratio": round(figures.p99_ratio, 4),
            "training_p99_ms": _rounded(self.training_p99_ms),
            "worst_over_steady_max_ms": round(figures.worst_over_steady_max_ms, 3),
            "steady_frames": figures.steady_frames,
            "update_frames": figures.update_frames,
            "rollback_ms": round(max(self.rollbacks_ms), 3),
            "rollbacks_ms": [round(one, 3) for one in self.rollbacks_ms],
            "map50": {one.semver: round(one.map50, 4) for one in self.releases},
            "map50_new_scratch": {
                one.semver: _rounded(one.map50_new_scratch) for one in self.releases
            },
            "ap50": {one.semver: dict(one.ap50) for one in self.releases},
            "training_s": {one.semver: _rounded(one.train_s) for one in self.releases},
            "releases": {one.semver: one.digest for one in self.releases},
            "refused_release": self.refused_release and self.refused_release.as_dict(),
            "cached": self.cached,
            "duration_s": round(self.duration_s, 1),
            "lines": [
                {
                    "what": line.what,
                    "expected": line.expected,
                    "found": line.found,
                    "kept": line.kept,
                    "promise": line.promise,
                }
                for line in lines_of(self)
            ],
        }


def summarise(
    timeline: Timeline,
    records: Sequence[FrameRecord],
    check: CheckResult,
    *,
    releases: tuple[ReleaseFacts, ReleaseFacts],
    quick: bool,
    duration_s: float,
    refused_release: RefusedRelease | None = None,
    cached: bool = False,
) -> Outcome:
    """Put the figures together."""
    training = [
        ms
        for act in timeline.acts
        if act.kind == "training" and releases[1].train_s is not None
        for ms in latencies_in(records, (act.began_s, act.ended_s))
    ]
    return Outcome(
        quick=quick,
        releases=releases,
        check=check,
        figures=update_figures(records, timeline.updates),
        training_p99_ms=percentile(training, 0.99) if training else None,
        rollbacks_ms=tuple((one.ack_s - one.order_s) * 1000 for one in timeline.rollbacks),
        updates=len(timeline.updates),
        refusals=tuple(timeline.refusals),
        duration_s=duration_s,
        refused_release=refused_release,
        cached=cached,
    )


def lines_of(outcome: Outcome) -> tuple[Line, ...]:
    """The final table: promises first, then targets."""
    return (*_promises(outcome), *_targets(outcome))


def _promises(outcome: Outcome) -> tuple[Line, ...]:
    check, refusals = outcome.check, outcome.refusals
    right = sum(one.as_expected for one in refusals)
    kept_champion = sum(one.champion_kept for one in refusals)
    return (
        _promise("frames lost", "0", str(check.lost), kept=check.lost == 0),
        _promise(
            "answers not of the release they name", "0", str(check.mixed), kept=check.mixed == 0
        ),
        _promise(
            "answers of the old one after an ack", "0", f"{check.stale}", kept=check.stale == 0
        ),
        _promise(
            "answers computed again",
            f"all {check.answered:,}",
            f"{check.checked:,}",
            kept=check.checked == check.answered > 0,
        ),
        _promise(
            "bad candidates refused as meant",
            f"{BAD_CANDIDATES} of {BAD_CANDIDATES}",
            f"{right} of {len(refusals)}",
            kept=right == len(refusals) == BAD_CANDIDATES,
        ),
        _promise(
            "champion untouched by them",
            f"{BAD_CANDIDATES} of {BAD_CANDIDATES}",
            f"{kept_champion} of {len(refusals)}",
            kept=kept_champion == len(refusals) == BAD_CANDIDATES,
        ),
    )


def _targets(outcome: Outcome) -> list[Line]:
    figures, (first, second) = outcome.figures, outcome.releases
    slowest_ms = max(outcome.rollbacks_ms)
    lines = [
        _target(
            f"p99 of {outcome.updates} updates to steady",
            f"≤ {P99_RATIO_MAX} x",
            f"{figures.update_p99_ms:.1f} / {figures.steady_p99_ms:.1f} ms = "
            f"{figures.p99_ratio:.2f} x",
            kept=figures.p99_ratio <= P99_RATIO_MAX,
        ),
        _target(
            "rollback, order to ack",
            f"≤ {ROLLBACK_MAX_MS:.0f} ms",
            f"{slowest_ms:.1f} ms",
            kept=slowest_ms <= ROLLBACK_MAX_MS,
        ),
    ]
    lines += [
        _target(
            f"mAP50 of {one.semver}, frozen test set",
            f"≥ {MAP50_MIN:.2f}",
            f"{one.map50:.3f}",
            kept=one.map50 >= MAP50_MIN,
        )
        for one in (first, second)
    ]
    if first.map50_new_scratch is not None and second.map50_new_scratch is not None:
        gain = second.map50_new_scratch - first.map50_new_scratch
        lines.append(
            _target(
                "AP50 of the new scratch",
                f"≥ +{NEW_SCRATCH_GAIN_MIN:.2f}",
                f"{first.map50_new_scratch:.2f} → {second.map50_new_scratch:.2f} = {gain:+.2f}",
                kept=gain >= NEW_SCRATCH_GAIN_MIN,
            )
        )
    lines += _refused_lines(outcome.refused_release)
    limit_s = RERUN_MAX_S if outcome.cached else DURATION_MAX_S
    limit_s = QUICK_MAX_S if outcome.quick else limit_s
    lines.append(
        _target(
            "the demo again, by the cache" if outcome.cached else "the whole demo",
            f"≤ {limit_s:.0f} s",
            f"{outcome.duration_s:.0f} s",
            kept=outcome.duration_s <= limit_s,
        )
    )
    return lines


def _refused_lines(refused: RefusedRelease | None) -> list[Line]:
    if refused is None:
        return []
    dark, whole = refused.slice_of(DARK), refused.slice_of(ALL)
    return [
        _target(
            f"{refused.semver}, recall over all",
            "higher",
            _change(whole),
            kept=refused.better_overall,
        ),
        _target(
            f"{refused.semver}, recall at night",
            "refused",
            f"{_change(dark)}: {refused.gate}",
            kept=refused.refused_for_the_night,
        ),
    ]


def _change(row: SliceRow | None) -> str:
    return "not compared" if row is None else f"{row.before:.2f} → {row.after:.2f}"


def _promise(what: str, expected: str, found: str, *, kept: bool) -> Line:
    return Line(what, expected, found, kept, promise=True)


def _target(what: str, expected: str, found: str, *, kept: bool) -> Line:
    return Line(what, expected, found, kept, promise=False)


def _refusal_dict(one: Refusal) -> dict[str, object]:
    return {
        "candidate": one.candidate,
        "gate": one.gate,
        "reason": one.reason,
        "as_expected": one.as_expected,
        "expected_gate": one.expected_gate,
        "expected_reasons": sorted(one.expected_reasons),
        "champion_kept": one.champion_kept,
        "message": one.message,
        "measurements": dict(one.measurements),
        "seconds": round(one.seconds, 3),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
