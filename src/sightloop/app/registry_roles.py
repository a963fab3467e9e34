"""Let the registry's roles follow a slot: the aliases `champion` and `previous` in MLflow.

The slot decides; the registry records. Nodes never talk to MLflow: whoever ordered the rollout
writes the roles afterwards, and a registry that cannot be written never undoes a switch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sightloop.config.workspace import Workspace
from sightloop.errors import MissingExtraError, RegistryError
from sightloop.registry.registry import Registry


def record_roles(workspace: Workspace, status: Mapping[str, Any]) -> str | None:
    """Write a line's champion and previous into the workspace's registry.

    Args:
        workspace: Whose registry.
        status: As a server's `GET /v1/lines/LINE` answers.

    Returns:
        A line for people; None where the workspace has no registry.
    """
    if not workspace.mlflow_database.is_file():
        return None
    # Here, not above: the core install has no MLflow, and importing it takes seconds.
    from sightloop.registry.mlflow_registry import MlflowRegistry
    from sightloop.registry.mlflow_store import open_mlflow

    try:
        registry = MlflowRegistry(open_mlflow(workspace))
    except MissingExtraError as error:
        return f"registry not updated: {error.message}"
    return follow_roles(registry, status)


def follow_roles(registry: Registry, status: Mapping[str, Any]) -> str:
    """Promote the previous, then the champion, so that each ends with its role."""
    line = str(status["line"])
    said = []
    for role in ("previous", "champion"):
        worker = status[role]
        release = worker["release"] if worker else None
        if release is None:
            continue
        try:
            registry.promote(line, release["digest"])
        except RegistryError as error:
            said.append(f"{role} {release['semver']} not recorded ({error.reason})")
        else:
            said.append(f"{role} {release['semver']}")
    return f"registry: {', '.join(said) or 'nothing to record'}"
