"""The dataset that the parent release was trained on, where this workspace still has it.

A release names its dataset by version alone. The copies that the step `split` made lie in the
cache; one that is gone is no error: it is said that the parent's dataset is not here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sightloop.config.workspace import Workspace
from sightloop.dataset.copying import DATASET_JSON, read_info
from sightloop.distribution.store import ReleaseStore
from sightloop.errors import DatasetError
from sightloop.release.bundle import Bundle, verify_bundle
from sightloop.release.signing import load_trust

_MADE_BY: Final = "split"


def read_parent(workspace: Workspace, *, folder: Path | None, digest: str | None) -> Bundle | None:
    """The parent release, verified: a bundle's folder, or a digest in the workspace's store.

    Raises:
        BundleError: The parent is not to be believed.
        ReleaseNotFoundError: The store has no such release.
    """
    if folder is None and digest is None:
        return None
    trust = load_trust(workspace.keys)
    if folder is not None:
        return verify_bundle(folder, trust)
    return ReleaseStore(workspace.releases).get(digest or "", trust)


def dataset_folder_of(version: str | None, workspace: Workspace) -> Path | None:
    """Folder of the copied dataset of this version; None where none is here."""
    for info in sorted((workspace.cache / _MADE_BY).glob(f"*/*/{DATASET_JSON}")):
        try:
            if version is not None and read_info(info.parent).version == version:
                return info.parent
        except DatasetError:
            # A damaged copy is not the one that is looked for; its own step makes it again.
            continue
    return None
