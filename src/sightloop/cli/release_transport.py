"""`sightloop release export` and `import`: a release as one file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sightloop.cli.release_options import WORKSPACE, Json, Trust, Workspace, progress_bar

if TYPE_CHECKING:
    from sightloop.release.bundle import Bundle


def export_(
    release: Annotated[str, typer.Argument(help="Bundle's folder or LINE@SEMVER.")],
    out: Annotated[Path, typer.Option(help="File to write, such as plate-1.0.0.sightloop.")],
    openssf_key: Annotated[
        Path | None,
        typer.Option(help="Elliptic private key (PEM): write OUT.openssf.json too."),
    ] = None,
    trust: Trust = None,
    workspace: Workspace = WORKSPACE,
    json_: Json = False,
) -> None:
    """Write a release as one file, verified; the same release gives the same bytes."""
    from sightloop.app.locate import locate_release
    from sightloop.config.workspace import Workspace as Place
    from sightloop.distribution.openssf_signature import (
        SUFFIX,
        check_openssf_installed,
        sign_for_openssf,
    )
    from sightloop.release.archive import write_archive
    from sightloop.release.signing import load_trust

    if openssf_key:
        check_openssf_installed()
    place = Place(workspace)
    folder = locate_release(place, release)
    trusted = load_trust(place.keys, trust or [])
    with progress_bar("export") as progress:
        bundle = write_archive(folder, out, trusted, progress=lambda done: progress(done, out.name))
    if openssf_key:
        sign_for_openssf(folder, out.with_name(out.name + SUFFIX), key=openssf_key)
    _show(bundle, out, as_json=json_)


def import_(
    file: Annotated[Path, typer.Argument(help="What `release export` wrote.")],
    trust: Trust = None,
    workspace: Workspace = WORKSPACE,
    json_: Json = False,
) -> None:
    """Take a release from one file into the workspace's store; exit code 3 if it is refused."""
    from sightloop.config.workspace import open_workspace
    from sightloop.distribution.store import ReleaseStore
    from sightloop.release.signing import load_trust

    place = open_workspace(workspace)
    store, trusted = ReleaseStore(place.releases), load_trust(place.keys, trust or [])
    with progress_bar("import") as progress:
        bundle = store.add_archive(file, trusted, progress=lambda done: progress(done, file.name))
    _show(bundle, bundle.folder, as_json=json_)


def _show(bundle: Bundle, where: Path, *, as_json: bool) -> None:
    manifest = bundle.manifest
    if as_json:
        value = {
            "line": manifest.line,
            "semver": manifest.semver,
            "digest": bundle.digest,
            "signer": bundle.signer,
            "path": str(where),
        }
        print(json.dumps(value))
        return
    print(f"{manifest.line}@{manifest.semver} {bundle.digest[:12]} -> {where}")
