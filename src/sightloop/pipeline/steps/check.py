"""The step `check`: says everything that is wrong in a dataset, and ends the run if it matters.

Reads `dataset`; writes `report`. When it ends the run, the report lies in the run's folder.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sightloop._support.files import write_json_atomic
from sightloop.dataset.checks import CheckReport, Finding, check_dataset
from sightloop.dataset.copying import read_copy, read_info
from sightloop.errors import DatasetError
from sightloop.pipeline.context import StepContext

REPORT_NAME: Final = "check.json"
_NAMED: Final = 5


def run(context: StepContext) -> None:
    """Check the dataset.

    Raises:
        DatasetError: There are fatal findings; its reason is their kind, or `dataset_faulty` if
            there are several kinds.
    """
    folder = context.inputs["dataset"]
    dataset = read_copy(folder)
    source = read_info(folder).source
    count = len(dataset.items)
    report = check_dataset(
        dataset,
        allow_empty_classes=context.flag("allow_empty_classes"),
        progress=lambda fraction: context.report(
            fraction, f"{fraction * count:.0f}/{count} images"
        ),
    )
    value = {"source": source, **report.as_dict()}
    if report.fatal:
        place = context.run_folder / REPORT_NAME
        write_json_atomic(place, value)
        raise refusal(report, source, place)
    write_json_atomic(context.outputs["report"], value)
    warnings = len(report.findings)
    context.report(1.0, f"{count} images, {warnings} warning(s)")


def refusal(report: CheckReport, source: str, place: Path) -> DatasetError:
    """The error that names the first fatal findings, their counts and where all of them stand."""
    fatal = report.fatal
    kinds = Counter(finding.kind for finding in fatal)
    counts = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    first = " | ".join(finding.message for finding in _first_of_each_kind(fatal))
    more = f" | and {len(fatal) - _NAMED} more" if len(fatal) > _NAMED else ""
    return DatasetError(
        f"{source}: expected a dataset fit for training, found {len(fatal)} fault(s) ({counts}): "
        f"{first}{more}; all of them are in {place}",
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
