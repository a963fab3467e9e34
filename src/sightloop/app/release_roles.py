"""Who names a release: the slots of this workspace, people's holds, aliases of the registry.

Only read here. What is not there names nothing; what is there and cannot be read is an error,
because retention would delete on a wrong answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sightloop._support.database import open_sqlite
from sightloop.config.workspace import Workspace
from sightloop.distribution.holds import Holds
from sightloop.distribution.store import ReleaseStore
from sightloop.serving.history import HistoryStore, fold

Named = dict[str, tuple[str, ...]]
"""What names a release, in words for people, by digest."""


def slot_roles(workspace: Workspace) -> Named:
    """Champion and previous of every slot that has a history here."""
    if not workspace.serving_database.is_file():
        return {}
    history = HistoryStore(open_sqlite(workspace.serving_database))
    named: Named = {}
    try:
        for line in history.lines():
            record = fold(history.events(line))
            for role, release in (("champion", record.champion), ("previous", record.previous)):
                if release is not None:
                    named[release.digest] = (*named.get(release.digest, ()), role)
    finally:
        history.close()
    return named


def held(workspace: Workspace) -> Named:
    """Releases that people hold."""
    notes = Holds(ReleaseStore(workspace.releases)).notes()
    return {digest: (f"held: {note}" if note else "held",) for digest, note in notes.items()}


def registry_aliases(workspace: Workspace, lines: Iterable[str]) -> Named:
    """Releases that any alias of the workspace's MLflow points to.

    Raises:
        MissingExtraError: There is a registry, and MLflow is not installed.
        RegistryError: It cannot be read.
    """
    if not workspace.mlflow_database.is_file():
        return {}
    # Here, not above: the core install has no MLflow, and importing it takes seconds.
    from sightloop.registry.mlflow_store import mlflow_errors, open_mlflow

    client = open_mlflow(workspace).client
    named: Named = {}
    with mlflow_errors():
        for line in sorted(set(lines)):
            if not client.search_registered_models(f"name = '{line}'"):
                continue
            for alias, number in sorted(client.get_registered_model(line).aliases.items()):
                digest = client.get_model_version(line, str(number)).tags.get("digest")
                if digest is not None:
                    named[digest] = (*named.get(digest, ()), f"alias {alias}")
    return named


def merged(*parts: Mapping[str, tuple[str, ...]]) -> Named:
    """All that names each release, in the order of the parts."""
    named: Named = {}
    for part in parts:
        for digest, words in part.items():
            named[digest] = (*named.get(digest, ()), *words)
    return named
