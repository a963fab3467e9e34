"""The embedded MLflow store: a SQLite file and a folder in the workspace, no server, no telemetry.

Stock `mlflow ui --backend-store-uri sqlite:///DATABASE` shows all of it. MLflow costs seconds to
import and is an extra: it is imported when a store is opened, never before. Its errors leave
this package as `RegistryError`.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sightloop._support.files import TEMPORARY_PREFIX, sync_folder, write_bytes_atomic
from sightloop.config.sealed_environment import seal_mlflow
from sightloop.config.workspace import Workspace
from sightloop.errors import MissingExtraError, RegistryError


@dataclass(frozen=True, slots=True)
class MlflowStore:
    """An open store.

    Attributes:
        client: MLflow's client, bound to the database.
        database: The SQLite file.
        artifacts: Folder of all artifacts, one folder a line below it.
    """

    client: Any
    database: Path
    artifacts: Path

    def experiment_of(self, line: str) -> str:
        """Id of the line's experiment, created if absent.

        Raises:
            RegistryError: It was deleted in MLflow.
        """
        found = self.client.get_experiment_by_name(line)
        if found is None:
            location = (self.artifacts / line).as_uri()
            return str(self.client.create_experiment(line, artifact_location=location))
        if found.lifecycle_stage != "active":
            raise RegistryError(
                f"MLflow experiment {line}: expected it active, found it deleted; restore it with "
                f"`mlflow experiments restore -x {found.experiment_id}`",
                reason="experiment_deleted",
            )
        return str(found.experiment_id)


def check_mlflow_installed() -> None:
    """Say what to install where MLflow is absent; imports nothing.

    Raises:
        MissingExtraError: It is not installed.
    """
    if importlib.util.find_spec("mlflow") is None:
        raise MissingExtraError(
            "tracking and the model registry need MLflow, which is not installed; install it "
            "with `pip install 'sightloop[registry]'`"
        )


def open_mlflow(workspace: Workspace) -> MlflowStore:
    """Open the workspace's store, created if absent: its database appears whole or not at all.

    Raises:
        MissingExtraError: MLflow is not installed.
        RegistryError: The database cannot be opened.
    """
    check_mlflow_installed()
    seal_mlflow()
    import mlflow

    for name in ("mlflow", "alembic"):  # a new database is announced in fifty lines
        logging.getLogger(name).setLevel(logging.WARNING)
    with mlflow_errors():
        workspace.mlflow_artifacts.mkdir(parents=True, exist_ok=True)
        if not workspace.mlflow_database.exists():
            _create_database(workspace)
        address = f"sqlite:///{workspace.mlflow_database.resolve()}"
        client = mlflow.MlflowClient(tracking_uri=address, registry_uri=address)
    return MlflowStore(
        client=client,
        database=workspace.mlflow_database.resolve(),
        artifacts=workspace.mlflow_artifacts.resolve(),
    )


def _create_database(workspace: Workspace) -> None:
    """Have MLflow make its tables beside, then give the whole file its name.

    MLflow makes them in hundreds of statements, and cannot go on from half of them. Of two
    processes that do this at once, one file wins.
    """
    import mlflow

    final = workspace.mlflow_database
    workspace.runs.mkdir(parents=True, exist_ok=True)
    # Below `runs`, where the next run removes what a killed one left.
    with tempfile.TemporaryDirectory(prefix=TEMPORARY_PREFIX, dir=workspace.runs) as name:
        made = Path(name, final.name)
        address = f"sqlite:///{made}"
        mlflow.MlflowClient(tracking_uri=address, registry_uri=address)
        # A copy: MLflow keeps the file that it made open.
        copy = Path(name, "copy")
        write_bytes_atomic(copy, made.read_bytes())
        with suppress(FileExistsError):
            os.link(copy, final)
        sync_folder(final.parent)


@contextmanager
def mlflow_errors() -> Iterator[None]:
    """Turn MLflow's and its database's errors into `RegistryError`.

    A ctrl-C that they have wrapped into an error of theirs stays one.
    """
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        if _interrupted(error):
            raise KeyboardInterrupt from error
        raise RegistryError(f"MLflow: {type(error).__name__}: {error}") from error


def _interrupted(error: BaseException | None) -> bool:
    """Whether ctrl-C stands anywhere behind an error."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__cause__ or error.__context__
    return False
