from __future__ import annotations

import os
import subprocess
import sys
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


def test_refused_network_stays_refused_and_unix_sockets_stay(tmp_path: Path) -> None:
    """In a process of its own: what is refused there is refused for good."""
    program = (
        "import socket, sys\n"
        "from sightloop.config.sealed_environment import refuse_network\n"
        "asked = []\n"
        "refuse_network(asked.append)\n"
        "near = socket.socket(socket.AF_UNIX); near.bind(sys.argv[1]); near.listen()\n"
        "socket.socket(socket.AF_UNIX).connect(sys.argv[1])\n"
        "far = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "for ask in (lambda: far.connect(('192.0.2.1', 53)),\n"
        "            lambda: far.sendto(b'x', ('192.0.2.1', 53)),\n"
        "            lambda: socket.gethostbyname('example.org')):\n"
        "    try: ask()\n"
        "    except PermissionError as error: assert 'reaches no network' in str(error)\n"
        "    else: raise SystemExit('reached out')\n"
        "print(len(asked))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "s")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "3"


def test_package_managers_of_the_trainer_find_no_index(tmp_path: Path) -> None:
    sealed = trainer_environment(tmp_path, threads=1)
    assert (sealed["PIP_NO_INDEX"], sealed["UV_OFFLINE"]) == ("1", "1")
    assert sealed["TORCH_HOME"] == str(tmp_path)
