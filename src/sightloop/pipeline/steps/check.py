"""The step `check`: says everything that is wrong in a dataset, and ends the run if it matters.

Reads `dataset`, and the parent release where there is one, to set the counts of its dataset beside
these; writes the folder `report`: check.json, and check.html with pictures of suspicious labels.
When anything was found, both lie in the run's folder too, for people.
"""

from __future__ import annotations

from sightloop.dataset.check_report import PAGE_NAME, AgainstParent, refusal, write_report
from sightloop.dataset.checks import CheckReport, CheckRules, check_dataset, near_duplicates_from
from sightloop.dataset.copying import read_copy, read_info
from sightloop.dataset.summary import compare, summarize_dataset
from sightloop.pipeline.context import StepContext
from sightloop.pipeline.parent_dataset import dataset_folder_of, read_parent


def run(context: StepContext) -> None:
    """Check the dataset.

    Raises:
        DatasetError: There are fatal findings; its reason is their kind, or `dataset_faulty` if
            there are several kinds.
        BundleError: The parent is not to be believed.
    """
    folder = context.inputs["dataset"]
    dataset = read_copy(folder)
    source = read_info(folder).source
    count = len(dataset.items)
    report = check_dataset(
        dataset,
        rules=CheckRules(
            allow_empty_classes=context.flag("allow_empty_classes"),
            near_duplicates=near_duplicates_from(context.text("near_duplicates")),
        ),
        progress=lambda fraction: context.report(
            fraction, f"{fraction * count:.0f}/{count} images"
        ),
    )
    against = _against_parent(context, report)
    if report.fatal:
        write_report(context.run_folder, report, source=source, against=against)
        raise refusal(report, source, context.run_folder)
    write_report(context.outputs["report"], report, source=source, against=against)
    shown = ""
    if report.findings:
        write_report(context.run_folder, report, source=source, against=against)
        shown = f", shown in {context.run_folder / PAGE_NAME}"
    context.report(1.0, f"{count} images, {len(report.findings)} warning(s){shown}")


def _against_parent(context: StepContext, report: CheckReport) -> AgainstParent | None:
    parent = read_parent(
        context.workspace,
        folder=context.files.get("parent"),
        digest=context.optional_text("parent"),
    )
    if parent is None:
        return None
    manifest = parent.manifest
    release = f"{manifest.line} {manifest.semver} {parent.digest[:12]}"
    place = dataset_folder_of(manifest.lineage.dataset_version, context.workspace)
    if place is None:
        return AgainstParent(release, None)
    theirs = summarize_dataset(read_copy(place), report.looks)
    return AgainstParent(release, tuple(compare(report.summary, theirs)))
