"""`sightloop dataset`: what is in a dataset and what is wrong in it, without a pipeline.

Progress goes to standard error, results to standard output. Fatal findings are raised as an error
after the report has been shown and written; the root command turns it into exit code 4.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sightloop.dataset.checks import CheckReport

app = typer.Typer(help="Images with labels, before anything is trained.", no_args_is_help=True)

_Path = Annotated[
    Path, typer.Argument(help="A data.yaml, a COCO annotation file, or a folder of either.")
]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
_SHOWN = 20


@app.command("check")
def check(
    path: _Path,
    near_duplicates: Annotated[
        str,
        typer.Option(
            "--near-duplicates", help="Look-alikes across splits are: warn, fatal, or off."
        ),
    ] = "warn",
    allow_empty_classes: Annotated[
        bool, typer.Option("--allow-empty-classes", help="A class without a box is a warning.")
    ] = False,
    report_folder: Annotated[
        Path | None,
        typer.Option("--report", help="Folder for check.json and check.html with pictures."),
    ] = None,
    as_json: _Json = False,
) -> None:
    """Read every image and label and say what is wrong; exit code 4 where training must not be."""
    from sightloop.dataset.check_report import refusal, write_report
    from sightloop.dataset.checks import CheckRules, check_dataset, near_duplicates_from
    from sightloop.dataset.reading import read_dataset

    rules = CheckRules(
        allow_empty_classes=allow_empty_classes,
        near_duplicates=near_duplicates_from(near_duplicates),
    )
    report = check_dataset(read_dataset(path), rules=rules, progress=_progress())
    source = str(path)
    if report_folder is not None:
        write_report(report_folder, report, source=source)
    if report.fatal:
        if not as_json:
            _print(report)
        raise refusal(report, source, report_folder)
    if as_json:
        print(json.dumps({"source": source, **report.as_dict()}))
        return
    _print(report)


@app.command("show")
def show(path: _Path, as_json: _Json = False) -> None:
    """Show what a dataset holds: splits, boxes by class, light, and its version."""
    from sightloop.dataset.checks import CheckRules, check_dataset
    from sightloop.dataset.fingerprint import dataset_version
    from sightloop.dataset.reading import read_dataset

    dataset = read_dataset(path)
    rules = CheckRules(near_duplicates="off")
    report = check_dataset(dataset, rules=rules, progress=_progress())
    version = dataset_version(dataset)
    if as_json:
        value = {"source": str(path), "version": version, "counts": report.as_dict()["counts"]}
        print(json.dumps({**value, "summary": report.summary.as_dict()}))
        return
    counts = report.counts
    print(f"{path}  version {version[:12]}")
    for split in ("train", "val", "test"):
        print(f"{split:<6} {counts['images'][split]:>7} images {counts['boxes'][split]:>8} boxes")
    for name, boxes in report.summary.boxes.items():
        places = " ".join(f"{counts[f'boxes_{split}'][name]:>7}" for split in _SPLITS)
        print(f"  {name:<24} {boxes:>7} boxes  (train, val, test: {places})")
    for name, images in report.summary.slices.items():
        print(f"  light {name:<18} {images:>7} images")


_SPLITS = ("train", "val", "test")


def _print(report: CheckReport) -> None:
    images = sum(report.counts["images"].values())
    warnings = len(report.findings) - len(report.fatal)
    print(f"{images} images: {len(report.fatal)} fatal finding(s), {warnings} warning(s)")
    for finding in report.findings[:_SHOWN]:
        print(f"{'fatal' if finding.fatal else 'warning':<8} {finding.kind}: {finding.message}")
    if len(report.findings) > _SHOWN:
        print(f"and {len(report.findings) - _SHOWN} more; --report FOLDER writes all of them")


def _progress() -> _Bar:
    return _Bar()


class _Bar:
    """One line on a terminal's standard error that counts up; nothing elsewhere."""

    def __init__(self) -> None:
        self.shown = -1

    def __call__(self, fraction: float) -> None:
        percent = int(100 * fraction)
        if not sys.stderr.isatty() or percent == self.shown:
            return
        self.shown = percent
        end = "\n" if percent == 100 else ""
        print(f"\rreading {percent:3d}%", end=end, file=sys.stderr, flush=True)
