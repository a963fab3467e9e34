"""The gate `behaviour`: does the loaded network find what the calibration set says is there?

`replay.py` runs the candidate (and the champion) and `measure.py` makes an `Evidence` of it;
`judge_behaviour` turns that into a verdict and runs nothing. What is expected came from the
trainer's checkpoint and from people, never from the file that is judged, and the champion's own
frames ask whether something it finds has been unlearnt. Overlap alone does not see a picture
moved by 2 px, so the median signed offset of the edges is bounded too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sightloop.gates.evidence import Agreement, Offsets
from sightloop.gates.label_evidence import COLOUR_Z_MAX
from sightloop.gates.measure import Evidence, SelfEvidence
from sightloop.release.manifest import Tolerances
from sightloop.release.verdict import Measurement, Outcome, Verdict

GATE = "behaviour"
EDGES_MIN: Final = 8
"""Matched edges per axis for an offset against the checkpoint, whose boxes are exact."""
LABEL_EDGES_MIN: Final = 30
"""The same against people's boxes or another network's, which scatter by some pixels."""
CHAMPION_LABELS_MIN: Final = 10
RECALL_LOSS_MAX: Final = 0.1
_EXPLAINING_RECALL: Final = 0.5


@dataclass(frozen=True, slots=True)
class ChampionRules:
    """How the candidate is held against the champion.

    Attributes:
        recall_loss_max: On the champion's frames the candidate may find this share of the labels
            less than the champion does.
        binding: False for a release that comes back from the slot's history: it was good enough
            once and the operator asks for it, so the comparison is measured and not judged.
    """

    recall_loss_max: float = RECALL_LOSS_MAX
    binding: bool = True


DEFAULT_RULES: Final = ChampionRules()


@dataclass(frozen=True, slots=True)
class _Finding:
    """Something out of bounds."""

    outcome: Outcome
    reason: str
    message: str


def no_frames() -> Verdict:
    """The verdict on a release that brings no calibration frames."""
    return Verdict(
        GATE,
        Outcome.INCONCLUSIVE,
        "no_frames",
        "expected calibration frames in the release, found none; build it with --frames",
    )


def judge_behaviour(
    evidence: Evidence, tolerances: Tolerances, *, rules: ChampionRules = DEFAULT_RULES
) -> Verdict:
    """The verdict on what was measured; the first finding names it, a FAIL before a doubt."""
    findings = [
        *_judge_checkpoint(evidence.checkpoint, tolerances),
        *_judge_labels(evidence, tolerances),
        *(_judge_champion(evidence, tolerances, rules) if rules.binding else ()),
    ]
    findings.sort(key=lambda finding: finding.outcome is not Outcome.FAIL)
    measurements = _measurements(evidence, tolerances, rules)
    if findings:
        first = findings[0]
        return Verdict(GATE, first.outcome, first.reason, first.message, measurements)
    labels = evidence.labels
    return Verdict(
        GATE,
        Outcome.PASS,
        "ok",
        f"answers on {evidence.frames} frames are as expected; {labels.expected_found} of "
        f"{labels.expected} labels found",
        measurements,
    )


def _judge_checkpoint(found: Agreement | None, tolerances: Tolerances) -> Iterator[_Finding]:
    if found is None:
        return
    offset = tuple(
        _judge_offset(
            found.offsets, tolerances.offset_max_px, "the checkpoint's", edges_min=EDGES_MIN
        )
    )
    if found.recall >= _EXPLAINING_RECALL:  # then a shift explains what is missed
        yield from offset
    if found.recall < tolerances.matched_min:
        yield _failed(
            "expected_detections_missed",
            f"expected at least {tolerances.matched_min:.1%} of the checkpoint's "
            f"{found.expected} detections, found {found.recall:.1%}: the export is not that "
            "checkpoint; export it again",
        )
    if found.precision < tolerances.matched_min:
        yield _failed(
            "unexpected_detections",
            f"expected at least {tolerances.matched_min:.1%} of the candidate's {found.sure} "
            f"clear detections to be the checkpoint's, found {found.precision:.1%}",
        )
    shift = _median(found.score_differences)
    if shift > tolerances.score_difference_max:
        yield _failed(
            "scores_shifted",
            f"expected the checkpoint's scores within {tolerances.score_difference_max:g} "
            f"(median), found {shift:.3f}: pre- or postprocessing differs from training",
        )
    if found.offsets.edges < EDGES_MIN:
        yield _too_few(found.offsets.edges, EDGES_MIN, "the checkpoint's detections")


def _judge_labels(evidence: Evidence, tolerances: Tolerances) -> Iterator[_Finding]:
    found = evidence.labels
    if found.recall < tolerances.label_recall_min:
        yield _failed(
            "labels_missed",
            f"expected at least {tolerances.label_recall_min:.1%} of {found.expected} labels to "
            f"be found, found {found.recall:.1%}; check classes, colours and weights",
        )
    if evidence.itself is None:
        return
    yield from _judge_itself(evidence.itself)
    yield from _judge_offset(
        found.offsets, tolerances.label_offset_max_px, "the labels'", edges_min=LABEL_EDGES_MIN
    )
    if found.offsets.edges < LABEL_EDGES_MIN:
        yield _too_few(found.offsets.edges, LABEL_EDGES_MIN, "the labels")


def _judge_itself(itself: SelfEvidence) -> Iterator[_Finding]:
    if itself.exchanged:
        yield _failed(
            "classes_exchanged",
            f"expected each class under its own name, found {', '.join(itself.exchanged)} "
            "exchanged; the class list is not in the order the network was trained with",
        )
    colours = itself.colours
    if colours.sign_test_z > COLOUR_Z_MAX:
        yield _failed(
            "colours_swapped",
            f"expected the labels to score best on frames as they are, found "
            f"{colours.better_swapped} scoring higher with red and blue swapped and "
            f"{colours.better_given} lower: the network takes BGR; export it for RGB",
        )


def _judge_champion(
    evidence: Evidence, tolerances: Tolerances, rules: ChampionRules
) -> Iterator[_Finding]:
    beside = evidence.champion
    if beside is None:
        return
    bound = beside.champion.recall - rules.recall_loss_max
    if beside.champion.expected >= CHAMPION_LABELS_MIN and beside.candidate.recall < bound:
        yield _failed(
            "worse_than_champion",
            f"expected at least {bound:.1%} of the {beside.champion.expected} labels of the "
            f"champion's calibration set (it finds {beside.champion.recall:.1%}), found "
            f"{beside.candidate.recall:.1%}: something it knew is unlearnt",
        )
    if evidence.checkpoint is None:
        yield from _judge_offset(
            beside.paired,
            tolerances.offset_max_px,
            "the champion's",
            edges_min=LABEL_EDGES_MIN,
        )


def _judge_offset(
    offsets: Offsets, max_px: float, whose: str, *, edges_min: int
) -> Iterator[_Finding]:
    x, y = offsets.medians_px
    if offsets.edges >= edges_min and max(abs(x), abs(y)) > max_px:
        yield _failed(
            "systematic_offset",
            f"expected edges within {max_px:g} input px of {whose} (median), found x {x:+.2f} y "
            f"{y:+.2f} px over {offsets.edges} edges: the picture is moved before the network",
        )


def _failed(reason: str, message: str) -> _Finding:
    return _Finding(Outcome.FAIL, reason, message)


def _too_few(edges: int, edges_min: int, what: str) -> _Finding:
    return _Finding(
        Outcome.INCONCLUSIVE,
        "too_few_matches",
        f"expected at least {edges_min} edges matched with {what} to judge a shift, found "
        f"{edges}; build the release with more frames (--frames, calibrate.frames)",
    )


def _median(values: NDArray[np.float64]) -> float:
    return float(np.median(values)) if len(values) else 0.0


def _measurements(
    evidence: Evidence, tolerances: Tolerances, rules: ChampionRules
) -> dict[str, Measurement]:
    labels = evidence.labels
    figures: dict[str, Measurement] = {
        "frames": evidence.frames,
        "labels": labels.expected,
        "label_recall_fraction": labels.recall,
        "label_recall_min_fraction": tolerances.label_recall_min,
        **_offset_figures("label_offset", labels.offsets),
    }
    if evidence.checkpoint is None:
        figures["label_offset_max_px"] = tolerances.label_offset_max_px
        figures |= _self_figures(evidence.itself)
    else:
        found = evidence.checkpoint
        figures |= {
            "expected_detections": found.expected,
            "expected_found_fraction": found.recall,
            "found_expected_fraction": found.precision,
            "matched_min_fraction": tolerances.matched_min,
            "score_difference_median": _median(found.score_differences),
            "score_difference_max": tolerances.score_difference_max,
            **_offset_figures("offset", found.offsets),
            "offset_max_px": tolerances.offset_max_px,
        }
    if evidence.champion is not None:
        beside = evidence.champion
        figures |= {
            "champion_labels": beside.champion.expected,
            "champion_recall_fraction": beside.champion.recall,
            "candidate_recall_fraction": beside.candidate.recall,
            "recall_loss_max_fraction": rules.recall_loss_max,
            "champion_binding": rules.binding,
            **_offset_figures("champion_offset", beside.paired),
        }
    return figures


def _self_figures(itself: SelfEvidence | None) -> dict[str, Measurement]:
    if itself is None:
        return {}
    return {
        "labels_better_as_given": itself.colours.better_given,
        "labels_better_with_swapped_colours": itself.colours.better_swapped,
        "colour_z": itself.colours.sign_test_z,
        "colour_z_max": COLOUR_Z_MAX,
        "classes_exchanged": ", ".join(itself.exchanged) or "none",
    }


def _offset_figures(name: str, offsets: Offsets) -> dict[str, Measurement]:
    x, y = offsets.medians_px
    return {f"{name}_x_px": x, f"{name}_y_px": y, f"{name}_edges": offsets.edges}
