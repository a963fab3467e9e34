from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

import pytest

from sightloop.config.workspace import open_workspace
from sightloop.errors import MissingExtraError, RegistryError
from sightloop.registry.mlflow_store import mlflow_errors, open_mlflow


def test_missing_mlflow_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError) as caught:
        open_mlflow(open_workspace(tmp_path))
    assert "pip install 'sightloop[registry]'" in caught.value.message
    assert not (tmp_path / "mlflow.db").exists()


@pytest.mark.skipif(
    importlib.util.find_spec("mlflow") is None,
    reason="MLflow is not installed (extra `registry`)",
)
# SQLAlchemy warns of what MLflow does with it.
@pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")
def test_database_that_is_none_is_a_registry_error(tmp_path: Path) -> None:
    workspace = open_workspace(tmp_path)
    workspace.mlflow_database.write_bytes(b"no database" * 100)
    with pytest.raises(RegistryError):
        open_mlflow(workspace)


@pytest.mark.skipif(
    importlib.util.find_spec("mlflow") is None,
    reason="MLflow is not installed (extra `registry`)",
)
@pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")
def test_database_appears_whole_and_one_that_is_there_meanwhile_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = open_workspace(tmp_path)
    link = os.link

    def link_late(source: str, target: Path) -> None:
        assert not target.exists()
        shutil.copyfile(source, target)
        target.touch()
        late.append(target.stat().st_ino)
        link(source, target)

    late: list[int] = []
    monkeypatch.setattr(os, "link", link_late)
    open_mlflow(workspace)
    assert [workspace.mlflow_database.stat().st_ino] == late
    assert not list(workspace.runs.iterdir())


@pytest.mark.skipif(
    importlib.util.find_spec("mlflow") is None,
    reason="MLflow is not installed (extra `registry`)",
)
def test_errors_of_the_disk_are_registry_errors_and_ours_stay_as_they_are() -> None:
    with pytest.raises(RegistryError, match="OSError: disk"), mlflow_errors():
        raise OSError("disk")
    with pytest.raises(MissingExtraError), mlflow_errors():
        raise MissingExtraError("stays")


@pytest.mark.skipif(
    importlib.util.find_spec("mlflow") is None,
    reason="MLflow is not installed (extra `registry`)",
)
def test_interruption_that_the_database_wrapped_stays_one() -> None:
    with pytest.raises(KeyboardInterrupt), mlflow_errors():
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            raise OSError("rollback first")  # noqa: B904  # as the database layer does it
