"""`sightloop release`: keys, and releases as files: build, verify, show; the rest from beside."""

from __future__ import annotations

import json
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sightloop.cli import release_list, release_retention, release_transport
from sightloop.cli.release_options import WORKSPACE as _WORKSPACE
from sightloop.cli.release_options import Json, SplitName, Workspace, progress_bar

if TYPE_CHECKING:
    from sightloop.config.workspace import Workspace as Place
    from sightloop.distribution.store import ReleaseStore
    from sightloop.release.bundle import Bundle
    from sightloop.release.signing import SigningKey

app = typer.Typer(help="Build, sign, verify and look at releases.", no_args_is_help=True)

Release = Annotated[str, typer.Argument(help="Bundle's folder or LINE@SEMVER.")]


_CLASSES_SHOWN = 8
_MAP50_DOUBTFUL = 0.1


class LayoutName(StrEnum):
    """Layouts of a network's output."""

    RAW = "raw"
    END_TO_END = "end_to_end"


@app.command()
def keygen(
    name: Annotated[str, typer.Option(help="File name of the key.")] = "default",
    workspace: Workspace = _WORKSPACE,
    json_: Json = False,
) -> None:
    """Make a signing key in the workspace: NAME.key stays here, NAME.pub is for those who trust."""
    from sightloop.config.workspace import open_workspace
    from sightloop.release.signing import create_key

    keys = open_workspace(workspace).keys
    key = create_key(keys, name)
    public = keys / f"{name}.pub"
    if json_:
        print(json.dumps({"key_id": key.key_id, "public": str(public)}))
        return
    print(f"key {key.key_id}; give {public} to those who are to trust it")


@app.command()
def build(
    onnx: Annotated[Path, typer.Option(help="The exported network.")],
    data: Annotated[Path, typer.Option(help="Labelled dataset, YOLO or COCO: file or folder.")],
    line: Annotated[str, typer.Option(help="Model line.")],
    semver: Annotated[str, typer.Option(help="Version, such as 1.0.0.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder to write; the workspace's store otherwise.")
    ] = None,
    split: Annotated[
        SplitName, typer.Option(help="Part that is measured and gives the calibration frames.")
    ] = SplitName.VAL,
    frames: Annotated[int, typer.Option(help="Calibration frames.")] = 20,
    score: Annotated[float, typer.Option(help="Operating threshold.")] = 0.25,
    layout: Annotated[
        LayoutName | None, typer.Option(help="Of the output; read off its shape otherwise.")
    ] = None,
    license_: Annotated[
        str, typer.Option("--license", help="What may be done with the weights.")
    ] = "not stated",
    origin: Annotated[
        str | None, typer.Option(help="Where the weights come from; file and SHA-256 otherwise.")
    ] = None,
    parent: Annotated[
        str | None, typer.Option(help="Release they were trained from: semver or digest.")
    ] = None,
    key: Annotated[str, typer.Option(help="Name of the signing key.")] = "default",
    workspace: Workspace = _WORKSPACE,
    json_: Json = False,
) -> None:
    """Build and sign a release from an ONNX detector and labelled images, without training."""
    from sightloop.config.workspace import open_workspace
    from sightloop.distribution.store import ReleaseStore
    from sightloop.pipeline.release_builder import BuildSpec, build_into_store, build_release
    from sightloop.release.signing import load_trust

    place = open_workspace(workspace)
    store = ReleaseStore(place.releases)
    spec = BuildSpec(
        onnx=onnx,
        data=data,
        line=line,
        semver=semver,
        split=split.value,
        frames=frames,
        score=score,
        layout=layout.value if layout else None,
        license=license_,
        origin=origin,
        parent=store.find(line, parent) if parent else None,
    )
    signing_key = _signing_key(place.keys, key)
    with progress_bar(f"{line} {semver}") as progress:
        if out is None:
            made = partial(build_into_store, store=store, trust=load_trust(place.keys))
        else:
            made = partial(build_release, folder=out)
        bundle = made(spec, key=signing_key, progress=progress)
    if out is None:
        _warn_of_namesakes(bundle, store)
    _warn_of_nothing_found(bundle, split)
    _show(bundle, as_json=json_)


@app.command()
def verify(
    release: Release,
    trust: Annotated[
        list[Path] | None, typer.Option(help="Public key to trust beside the workspace's.")
    ] = None,
    workspace: Workspace = _WORKSPACE,
    json_: Json = False,
) -> None:
    """Check signature, files and digests of a release; exit code 3 if one does not hold."""
    from sightloop.config.workspace import Workspace as Place
    from sightloop.release.bundle import verify_bundle
    from sightloop.release.signing import load_trust

    place = Place(workspace)
    bundle = verify_bundle(_folder_of(release, place), load_trust(place.keys, trust or []))
    _show(bundle, as_json=json_)


@app.command()
def show(release: Release, workspace: Workspace = _WORKSPACE, json_: Json = False) -> None:
    """Show what a release says of itself; nothing is verified."""
    from sightloop.config.workspace import Workspace as Place
    from sightloop.release.bundle import read_bundle

    _show(read_bundle(_folder_of(release, Place(workspace))), as_json=json_)


app.command("export")(release_transport.export_)
app.command("import")(release_transport.import_)
app.command("list")(release_list.list_)
app.command("diff")(release_list.diff)
app.command("hold")(release_retention.hold)
app.command("unhold")(release_retention.unhold)
app.command("prune")(release_retention.prune)


def _folder_of(text: str, place: Place) -> Path:
    """Where the release lies: a folder as it is named, `LINE@SEMVER` in the store."""
    from sightloop.app.locate import locate_release

    folder = Path(text)
    return locate_release(place, text) if "@" in text and not folder.exists() else folder


def _signing_key(keys: Path, name: str) -> SigningKey:
    """The key of this name. Only the default one is made where it is absent: others are typed."""
    from sightloop.errors import ConfigError
    from sightloop.release.signing import DEFAULT_KEY, ensure_key

    if name != DEFAULT_KEY and not (keys / f"{name}.key").exists():
        there = ", ".join(sorted(path.stem for path in keys.glob("*.key"))) or "none"
        raise ConfigError(
            f"key {name}: expected one of {keys}, found {there}; make it with `sightloop release "
            f"keygen --name {name}`, or name another --key",
            "key_missing",
        )
    key, made_now = ensure_key(keys, name)
    if made_now:
        typer.echo(f"made signing key {key.key_id} in {keys}", err=True)
    return key


def _warn_of_namesakes(bundle: Bundle, store: ReleaseStore) -> None:
    """Say that LINE@SEMVER now names several releases of the store."""
    line, semver = bundle.manifest.line, bundle.manifest.semver
    others = [
        entry.digest[:12]
        for entry in store.entries()
        if (entry.line, entry.semver) == (line, semver) and entry.digest != bundle.digest
    ]
    if others:
        typer.echo(
            f"warning: the store also has {', '.join(others)} as {line}@{semver}; name this one "
            f"{line}@{bundle.digest[:12]}, or build it again with a higher --semver",
            err=True,
        )


def _warn_of_nothing_found(bundle: Bundle, split: SplitName) -> None:
    """A network that finds next to nothing is mostly fed or read in a wrong way."""
    map50 = bundle.manifest.metrics.map50
    if map50 is not None and map50 < _MAP50_DOUBTFUL:
        typer.echo(
            f"warning: mAP50 of {map50:.3f} on {split.value}: a server will hardly take it; check "
            "that the classes of --data stand in the network's order, its colours and --layout",
            err=True,
        )


def _show(bundle: Bundle, *, as_json: bool) -> None:
    manifest = bundle.manifest
    if as_json:
        value = {
            "line": manifest.line,
            "semver": manifest.semver,
            "digest": bundle.digest,
            "signer": bundle.signer,
            "folder": str(bundle.folder),
            "manifest": manifest.model_dump(mode="json", by_alias=True),
        }
        print(json.dumps(value))
        return
    metrics, latency = manifest.metrics, manifest.latency
    rows = [
        ("digest", bundle.digest),
        ("signer", bundle.signer),
        ("folder", str(bundle.folder)),
        ("classes", _classes(manifest.classes)),
        ("input", f"{manifest.preprocess.side_px} px; output {manifest.output.layout}"),
        ("calibration", _calibration(bundle)),
        ("mAP50", "unknown" if metrics.map50 is None else f"{metrics.map50:.3f}"),
        ("CPU a frame", f"{latency.cpu_ms_p50:.1f} ms, {latency.hardware}" if latency else "?"),
        ("weights", f"{manifest.weights.license}; {manifest.weights.origin}"),
    ]
    print(f"{manifest.line}@{manifest.semver}")
    for name, text in rows:
        print(f"  {name:<12}{text}")


def _classes(names: tuple[str, ...]) -> str:
    more = ", …" if len(names) > _CLASSES_SHOWN else ""
    return f"{len(names)}: {', '.join(names[:_CLASSES_SHOWN])}{more}"


def _calibration(bundle: Bundle) -> str:
    calibration = bundle.manifest.calibration
    return f"{len(calibration.frames)} frames, expected from {calibration.expected_from}"
