"""`sightloop release list` and `diff`: what the store holds, and in what two releases differ."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sightloop.cli.release_options import WORKSPACE, Json, SplitName, Trust, Workspace, progress_bar

if TYPE_CHECKING:
    from sightloop.app.flipped import FlipReport
    from sightloop.release.bundle import Bundle
    from sightloop.release.difference import Difference, Value

_SHOWN = 20
_DIGEST = 12
_HEX = frozenset("0123456789abcdef")


def list_(
    line: Annotated[str | None, typer.Option(help="Only this model line.")] = None,
    registry: Annotated[
        bool, typer.Option("--registry", help="Ask MLflow for aliases too; takes seconds.")
    ] = False,
    workspace: Workspace = WORKSPACE,
    json_: Json = False,
) -> None:
    """Show the store's releases, and what names each: slots, holds, aliases."""
    from sightloop.app.release_roles import held, merged, registry_aliases, slot_roles
    from sightloop.config.workspace import Workspace as Place
    from sightloop.distribution.store import ReleaseStore
    from sightloop.release.bundle import read_bundle

    place = Place(workspace)
    store = ReleaseStore(place.releases)
    entries = [entry for entry in store.entries() if line in (None, entry.line)]
    aliases = registry_aliases(place, (entry.line for entry in entries)) if registry else {}
    named = merged(slot_roles(place), held(place), aliases)
    rows = []
    for entry in entries:
        manifest = read_bundle(store.path_of(entry.digest)).manifest
        rows.append(
            {
                **entry._asdict(),
                "created": manifest.created,
                "map50": manifest.metrics.map50,
                "bytes": sum(file.bytes for file in manifest.files.values()),
                "roles": list(named.get(entry.digest, ())),
            }
        )
    if json_:
        print(json.dumps({"releases": rows}))
        return
    if not rows:
        print(f"no releases{f' of line {line}' if line else ''} in {store.root}")
    for row in rows:
        print(_row(row))


def _row(row: dict[str, Any]) -> str:
    map50 = "?" if row["map50"] is None else f"{row['map50']:.3f}"
    name = f"{row['line']}@{row['semver']}"
    return (
        f"{name:<24} {row['digest'][:_DIGEST]}  {row['created'][:19]}  mAP50 {map50:<5} "
        f"{row['bytes'] / 1e6:7.1f} MB  {', '.join(row['roles'])}"
    ).rstrip()


def diff(
    before: Annotated[str, typer.Argument(help="Bundle's folder or LINE@SEMVER.")],
    after: Annotated[str, typer.Argument(help="The one to hold against it.")],
    data: Annotated[
        Path | None,
        typer.Option(help="Labelled images to run both on: which flipped. YOLO or COCO."),
    ] = None,
    split: Annotated[SplitName, typer.Option(help="Part of --data to run on.")] = SplitName.TEST,
    trust: Trust = None,
    workspace: Workspace = WORKSPACE,
    json_: Json = False,
) -> None:
    """Show in what two releases differ: data, settings, code, operation, metrics."""
    from sightloop.app.locate import locate_release
    from sightloop.config.workspace import Workspace as Place
    from sightloop.release.bundle import verify_bundle
    from sightloop.release.difference import differences
    from sightloop.release.signing import load_trust

    place = Place(workspace)
    trusted = load_trust(place.keys, trust or [])
    bundles = [verify_bundle(locate_release(place, text), trusted) for text in (before, after)]
    found = differences(bundles[0].manifest, bundles[1].manifest)
    flipped = _flips(bundles, data, split) if data else None
    if json_:
        print(json.dumps(_as_json(bundles, found, flipped)))
        return
    print(f"{_name(bundles[0])} -> {_name(bundles[1])}")
    _show_differences(found)
    if flipped:
        _show_flips(flipped)


def _flips(bundles: list[Bundle], data: Path, split: SplitName) -> FlipReport:
    from sightloop.app.flipped import find_flips
    from sightloop.dataset.reading import read_dataset
    from sightloop.runtime.loaded_release import load_release

    dataset = read_dataset(data)
    with contextlib.ExitStack() as stack:
        loaded = []
        for bundle in bundles:
            release = load_release(bundle.folder, bundle.manifest, bundle.digest)
            stack.callback(release.close)
            loaded.append(release)
        return find_flips(
            loaded[0],
            loaded[1],
            dataset.of(split.value),
            classes=dataset.classes,
            progress=stack.enter_context(progress_bar("diff")),
        )


def _name(bundle: Bundle) -> str:
    return f"{bundle.manifest.line}@{bundle.manifest.semver} {bundle.digest[:_DIGEST]}"


def _show_differences(found: tuple[Difference, ...]) -> None:
    if not found:
        print("no differences")
    part = ""
    for one in found:
        if one.part != part:
            part = one.part
            print(part)
        change = "" if one.change is None else f"  ({one.change:+.3f})"
        print(f"  {one.name:<28} {_text(one.before)} -> {_text(one.after)}{change}")


def _text(value: Value) -> str:
    """Short; a digest by its beginning."""
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{value:.4g}"
    text = str(value)
    return text[:_DIGEST] if len(text) == 64 and set(text) <= _HEX else text


def _show_flips(report: FlipReport) -> None:
    mended = sum(flip.mended for flip in report.flips)
    print(
        f"images\n  right on {report.right_before} -> {report.right_after} of {report.images}; "
        f"{mended} mended, {len(report.flips) - mended} broken"
    )
    for flip in report.flips[:_SHOWN]:
        wrong = flip.before if flip.mended else flip.after
        word = "mended" if flip.mended else "broken"
        print(f"  {word} {flip.image}: {wrong.missed} missed, {wrong.invented} invented")
    if len(report.flips) > _SHOWN:
        print(f"  and {len(report.flips) - _SHOWN} more; all with --json")


def _as_json(
    bundles: list[Bundle], found: tuple[Difference, ...], flipped: FlipReport | None
) -> dict[str, object]:
    from dataclasses import asdict

    sides = [
        {"line": b.manifest.line, "semver": b.manifest.semver, "digest": b.digest} for b in bundles
    ]
    return {
        "before": sides[0],
        "after": sides[1],
        "differences": [{**asdict(one), "change": one.change} for one in found],
        "images": None if flipped is None else asdict(flipped),
    }
