"""The report of a check for people and programs: check.json, check.html, and the error's words.

check.json holds every finding; check.html shows them with pictures of suspicious labels. What is
found is decided in `checks.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sightloop._support.files import write_bytes_atomic, write_json_atomic
from sightloop.dataset.checks import CheckReport, Finding
from sightloop.dataset.pictures import render_page
from sightloop.dataset.summary import CountChange
from sightloop.errors import DatasetError

REPORT_NAME: Final = "check.json"
PAGE_NAME: Final = "check.html"
_NAMED: Final = 5


@dataclass(frozen=True, slots=True)
class AgainstParent:
    """The counts beside those of the parent's dataset.

    Attributes:
        release: Line, semver and digest of the parent.
        changes: Every count; None where the parent's dataset is not in this workspace.
    """

    release: str
    changes: tuple[CountChange, ...] | None


def write_report(
    folder: Path, report: CheckReport, *, source: str, against: AgainstParent | None = None
) -> None:
    """Write check.json and check.html; what lies there under these names is replaced.

    Args:
        folder: Made where it is not there.
        report: What the check found.
        source: Where the dataset lies, for people.
        against: The parent, where there is one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    value: dict[str, object] = {"source": source, **report.as_dict()}
    if against:
        value["parent"] = {
            "release": against.release,
            "dataset_known": against.changes is not None,
            "counts": [change.as_dict() for change in against.changes or ()],
        }
    page = render_page(report, source, _parent_rows(against))
    write_bytes_atomic(folder / PAGE_NAME, page.encode())
    write_json_atomic(folder / REPORT_NAME, value)


def _parent_rows(against: AgainstParent | None) -> list[tuple[str, str, str]]:
    if against is None:
        return []
    if against.changes is None:
        return [(f"the dataset of {against.release} is not in this workspace", "", "")]
    return [(row.what, _shown(row.parent), _shown(row.here)) for row in against.changes]


def _shown(count: int | None) -> str:
    return "none" if count is None else str(count)


def refusal(report: CheckReport, source: str, folder: Path | None) -> DatasetError:
    """The error that names the first fatal findings, their counts and where all of them stand.

    Args:
        report: With at least one fatal finding.
        source: Where the dataset lies.
        folder: Where the report was written; None where it was not.
    """
    fatal = report.fatal
    kinds = Counter(finding.kind for finding in fatal)
    counts = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    first = " | ".join(finding.message for finding in _first_of_each_kind(fatal))
    more = f" | and {len(fatal) - _NAMED} more" if len(fatal) > _NAMED else ""
    place = f"; all of them are in {folder / REPORT_NAME}" if folder else ""
    return DatasetError(
        f"{source}: expected a dataset fit for training, found {len(fatal)} fault(s) ({counts}): "
        f"{first}{more}{place}",
        next(iter(kinds)) if len(kinds) == 1 else "dataset_faulty",
    )


def _first_of_each_kind(fatal: Sequence[Finding]) -> list[Finding]:
    """Up to five findings: one of each kind, then the first of what is left."""
    seen: set[str] = set()
    ranked = []
    for finding in fatal:
        ranked.append((finding.kind in seen, finding))
        seen.add(finding.kind)
    ranked.sort(key=lambda pair: pair[0])
    return [finding for _, finding in ranked[:_NAMED]]
