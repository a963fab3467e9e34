from __future__ import annotations

import os
from pathlib import Path

import pytest

from sightloop.config.sealed_environment import seal_mlflow, trainer_environment


def test_trainer_is_offline_and_installs_nothing(tmp_path: Path) -> None:
    sealed = trainer_environment(tmp_path, threads=2)
    assert sealed["YOLO_OFFLINE"] == "true"
    assert sealed["YOLO_AUTOINSTALL"] == "false"
    assert sealed["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert sealed["ULTRALYTICS_SAFE_LOAD"] == "true"


def test_trainer_remembers_nothing_in_the_users_home(tmp_path: Path) -> None:
    sealed = trainer_environment(tmp_path, threads=2)
    assert sealed["YOLO_CONFIG_DIR"] == str(tmp_path)
    assert sealed["MPLCONFIGDIR"] == str(tmp_path)


def test_leftover_rank_does_not_reach_the_trainer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("HTTP_PROXY", "kept")
    sealed = trainer_environment(tmp_path, threads=2)
    assert "LOCAL_RANK" not in sealed
    assert sealed["HTTP_PROXY"] == "kept"


def test_zero_threads_means_all(tmp_path: Path) -> None:
    assert trainer_environment(tmp_path, threads=2)["OMP_NUM_THREADS"] == "2"
    assert trainer_environment(tmp_path, threads=0)["OMP_NUM_THREADS"] == str(os.cpu_count())


def test_mlflow_is_told_to_stay_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_DISABLE_TELEMETRY", raising=False)
    seal_mlflow()
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert os.environ["DO_NOT_TRACK"] == "true"
