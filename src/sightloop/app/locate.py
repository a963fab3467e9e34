"""Find the release that a person names: a folder, `LINE@SEMVER`, a semver or a digest."""

from __future__ import annotations

import os
from pathlib import Path

from sightloop.config.workspace import Workspace
from sightloop.distribution.store import ReleaseStore
from sightloop.errors import ReleaseNotFoundError


def locate_release(workspace: Workspace, text: str, *, line: str | None = None) -> Path:
    """Give the bundle's folder.

    Args:
        workspace: Whose store is searched.
        text: A folder; or `LINE@SEMVER`; or, where `line` is given, a semver or the beginning of
            a digest.
        line: The model line, where the caller knows it.

    Raises:
        ReleaseNotFoundError: None such, or several.
    """
    folder = Path(text)
    if folder.is_dir():
        return folder.resolve()
    name, separator, version = text.partition("@")
    if not separator:
        name, version = line or "", text
    if not name:
        raise ReleaseNotFoundError(
            f"release {text}: expected a bundle's folder or LINE@SEMVER, found neither; see "
            "`sightloop release build`"
        )
    if os.sep in version:
        raise ReleaseNotFoundError(f"release {text}: expected a bundle's folder, found none there")
    store = ReleaseStore(workspace.releases)
    return store.path_of(store.find(name, version))
