import math
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from sightloop._support.clock import SystemClock
from sightloop.app import doctor_probes
from sightloop.app.doctor_probes import control_group, find_facts, zygote_threads
from sightloop.config.environment import inherited_environment

V1 = "4:memory:/m\n1:cpu,cpuacct:/box/inner\n"
V2 = "0::/box/inner\n"


def tree(root: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")
    return root


def test_tightest_quota_on_the_way_up_counts(tmp_path: Path) -> None:
    files = {"box/inner/cpu.max": "max 100000", "box/cpu.max": "150000 100000"}
    assert control_group(tree(tmp_path, files), V2) == (1.5, None)


def test_weight_is_that_of_the_innermost_group(tmp_path: Path) -> None:
    files = {"box/inner/cpu.weight": "20", "box/cpu.weight": "100", "box/cpu.max": "max 100000"}
    assert control_group(tree(tmp_path, files), V2) == (math.inf, "cpu.weight 20")


def test_first_version_of_control_groups_is_read_too(tmp_path: Path) -> None:
    place = "cpu,cpuacct/box/inner"
    files = {
        f"{place}/cpu.cfs_quota_us": "50000",
        f"{place}/cpu.cfs_period_us": "100000",
        f"{place}/cpu.shares": "512",
        "cpu,cpuacct/cpu.cfs_quota_us": "-1",
        "cpu,cpuacct/cpu.cfs_period_us": "100000",
    }
    assert control_group(tree(tmp_path, files), V1) == (0.5, "cpu.shares 512")


def test_machine_without_control_groups_has_no_quota(tmp_path: Path) -> None:
    assert control_group(tmp_path, "") == (None, None)


def test_zygote_that_does_not_start_is_no_number(tmp_path: Path) -> None:
    (tmp_path / "numpy.py").write_text("raise ImportError('broken on purpose')\n")
    environment = {**inherited_environment(), "PYTHONPATH": str(tmp_path)}
    assert zygote_threads(environment) is None


def test_zygote_with_a_thread_too_many_is_counted(tmp_path: Path) -> None:
    code = (
        "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    )
    (tmp_path / "sitecustomize.py").write_text(code)
    environment = {**inherited_environment(), "PYTHONPATH": str(tmp_path)}
    assert zygote_threads(environment) == 2


def test_facts_of_this_machine_are_found_and_the_workspace_is_not_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor_probes, "low_priority_share", lambda _: 0.02)
    facts = find_facts(tmp_path / "not" / "there", SystemClock())
    assert facts.cores == len(os.sched_getaffinity(0))
    assert facts.zygote_threads == 1
    assert "CPUExecutionProvider" in facts.providers
    assert len(facts.cv2_distributions) == 1
    assert facts.workspace_writable
    assert facts.free_bytes
    assert facts.versions["python"].startswith("3.")
    assert set(facts.extras) == {"train", "train-compact", "registry", "grpc", "openssf"}
    assert list(tmp_path.iterdir()) == []


def test_workspace_that_is_a_file_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor_probes, "low_priority_share", lambda _: 0.02)
    monkeypatch.setattr(doctor_probes, "zygote_threads", lambda _: 1)
    (tmp_path / "file").write_text("")
    assert not find_facts(tmp_path / "file", SystemClock()).workspace_writable
