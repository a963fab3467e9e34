"""Release 1.2.0: better over all labels, worse at night, and refused by the gate `quality`.

Reads what the gate wrote into the run's folder and shows it; nothing is measured here.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Final

from sightloop.demo.training import Judged
from sightloop.pipeline.comparison import JSON_NAME, PAGE_NAME

ALL: Final = "all"
DARK: Final = "light=dark"
GATE: Final = "quality"
LOST_SHOWN: Final = 4


@dataclass(frozen=True, slots=True)
class SliceRow:
    """A slice's recall before and after.

    Attributes:
        name: Of the slice.
        labels: Boxes that people marked.
        before: Recall of the champion.
        after: Recall of the candidate.
        p_value: Chance of such a loss without a difference.
        dropped: Whether the gate refuses it for this slice.
    """

    name: str
    labels: int
    before: float
    after: float
    p_value: float
    dropped: bool


@dataclass(frozen=True, slots=True)
class LostFrame:
    """A frame with labels that only the champion found: JPEG bytes and words."""

    name: str
    picture: bytes
    sentences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RefusedRelease:
    """How 1.2.0 ended.

    Attributes:
        champion: The version it was held against.
        semver: Its version.
        gate: What refused it; `none` if nothing did.
        reason: That gate's reason.
        message: That gate's words.
        map50: Of champion and candidate on the frozen test set; None if it was not compared.
        slices: Recall of both; empty if it was not compared.
        lost: Frames that show it.
        champion_kept: Whether the same release answered before and after.
        page: The gate's own page; None if it was not compared.
    """

    champion: str
    semver: str
    gate: str
    reason: str
    message: str
    map50: tuple[float, float] | None
    slices: tuple[SliceRow, ...]
    lost: tuple[LostFrame, ...]
    champion_kept: bool
    page: Path | None

    def slice_of(self, name: str) -> SliceRow | None:
        """A slice by its name."""
        return next((one for one in self.slices if one.name == name), None)

    @property
    def better_overall(self) -> bool:
        """Whether it finds more of all labels than the champion, each at its own threshold."""
        whole = self.slice_of(ALL)
        return whole is not None and whole.after > whole.before

    @property
    def refused_for_the_night(self) -> bool:
        """Whether the gate `quality` refused it, and for the dark slice."""
        dark = self.slice_of(DARK)
        refused = self.gate == GATE and self.champion_kept
        return refused and dark is not None and dark.dropped

    def as_dict(self) -> dict[str, object]:
        """For report.json."""
        return {
            "semver": self.semver,
            "gate": self.gate,
            "reason": self.reason,
            "message": self.message,
            "map50": None if self.map50 is None else [round(one, 4) for one in self.map50],
            "recall": {
                one.name: [round(one.before, 4), round(one.after, 4)] for one in self.slices
            },
            "dropped": [one.name for one in self.slices if one.dropped],
            "champion_kept": self.champion_kept,
        }


def read_refused(judged: Judged, champion: str, *, champion_kept: bool) -> RefusedRelease:
    """Read what the gate wrote.

    Args:
        judged: How the pipeline ended.
        champion: The version it was held against.
        champion_kept: Whether the same release answered before and after.
    """
    value: dict[str, Any] = {"slices": [], "lost": []}
    if judged.quality is not None:
        value = json.loads((judged.quality / JSON_NAME).read_bytes())
    sides = [value.get(side, {}).get("map50") for side in ("champion", "candidate")]
    known = (float(sides[0]), float(sides[1])) if None not in sides else None
    return RefusedRelease(
        champion=champion,
        semver=judged.semver,
        gate=judged.gate,
        reason=judged.reason,
        message=judged.message,
        map50=known,
        slices=tuple(_row(one) for one in value["slices"] if one["labels"]),
        lost=tuple(_lost(judged.quality, value["lost"])),
        champion_kept=champion_kept,
        page=judged.quality / PAGE_NAME if judged.quality else None,
    )


def _row(one: dict[str, Any]) -> SliceRow:
    labels, both = int(one["labels"]), int(one["found_by_both"])
    return SliceRow(
        name=str(one["name"]),
        labels=labels,
        before=(both + int(one["lost"])) / labels,
        after=(both + int(one["gained"])) / labels,
        p_value=float(one["p_value"]),
        dropped=bool(one["dropped"]),
    )


def _lost(folder: Path | None, named: list[dict[str, Any]]) -> Iterator[LostFrame]:
    if folder is None:
        return
    for place, one in enumerate(named[:LOST_SHOWN], start=1):
        picture = (folder / "lost" / f"{place:02d}.jpg").read_bytes()
        yield LostFrame(str(one["image"]), picture, tuple(one["mistakes"]))


def refused_section(refused: RefusedRelease | None, story: str) -> str:
    """The part of the page; empty where no 1.2.0 was made."""
    return "" if refused is None else "\n".join(_section(refused, story))


def _section(refused: RefusedRelease, story: str) -> Iterator[str]:
    as_meant = refused.better_overall and refused.refused_for_the_night
    what = "better overall, worse at night, refused" if as_meant else "not as it was meant"
    yield f"<h2>{escape(refused.semver)}: {what}</h2>"
    yield f'<p class="soft">{escape(story)}</p>'
    kind = "yes" if refused.refused_for_the_night else "no"
    yield (
        f'<div class="card"><p><span class="{kind}">{escape(refused.gate)}</span> '
        f"<code>{escape(refused.reason)}</code></p><p>{escape(refused.message)}</p></div>"
    )
    if refused.map50 is not None:
        before, after = refused.map50
        yield (
            f'<p class="gap">mAP50 on the frozen test set: {before:.3f} → {after:.3f}. Recall at '
            "the operating threshold, slice by slice:</p>"
        )
    yield '<div class="card scroll"><table><tr><th>slice</th><th>labels</th>'
    yield f"<th>{escape(refused.champion)}</th><th>{escape(refused.semver)}</th><th></th>"
    yield "<th>p</th><th></th></tr>"
    for one in refused.slices:
        word = '<td class="no">dropped</td>' if one.dropped else "<td></td>"
        yield (
            f'<tr><td>{escape(one.name)}</td><td class="n">{one.labels}</td>'
            f'<td class="n">{one.before:.3f}</td><td class="n">{one.after:.3f}</td>'
            f'<td class="n">{one.after - one.before:+.3f}</td>'
            f'<td class="n">{one.p_value:.2g}</td>{word}</tr>'
        )
    yield "</table></div>"
    if refused.lost:
        yield (
            '<p class="soft gap">What that means on images of the night: left '
            f"{escape(refused.champion)}, right {escape(refused.semver)}. Green is right, red "
            "missed.</p>"
        )
    yield '<section class="lost">'
    for shown in refused.lost:
        data = base64.b64encode(shown.picture).decode("ascii")
        said = "; ".join(shown.sentences)
        yield (
            f'<figure class="card"><img alt="" src="data:image/jpeg;base64,{data}">'
            f"<figcaption>{escape(shown.name)}: {escape(said)}</figcaption></figure>"
        )
    yield "</section>"
