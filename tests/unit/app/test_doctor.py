import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sightloop.app.doctor import Facts, Health, diagnose, overall

GOOD = Facts(
    cores=4,
    machine_cores=8,
    processor="Xeon",
    autogroup=True,
    low_share=0.015,
    quota_cores=math.inf,
    weight="cpu.weight 100",
    workspace=Path("w"),
    workspace_writable=True,
    free_bytes=50 << 30,
    clock_synchronised=True,
    providers=("CPUExecutionProvider",),
    cv2_distributions=("opencv-python-headless",),
    zygote_threads=1,
    open_files_max=4096,
    versions={"python": "3.11.7"},
    extras={"train": None, "registry": "3.17.2"},
)


def test_good_machine_is_ok_throughout() -> None:
    checks = diagnose(GOOD)
    assert [check for check in checks if check.health is not Health.OK] == []
    assert overall(checks) is Health.OK


@pytest.mark.parametrize(
    ("fact", "value", "name", "health"),
    [
        ("cores", 1, "cores", Health.WARN),
        ("low_share", 0.5, "priorities", Health.WARN),
        ("low_share", None, "priorities", Health.WARN),
        ("quota_cores", 1.5, "cpu quota", Health.WARN),
        ("workspace_writable", False, "workspace", Health.FAIL),
        ("free_bytes", None, "workspace", Health.WARN),
        ("free_bytes", 1 << 30, "workspace", Health.WARN),
        ("free_bytes", 1 << 20, "workspace", Health.FAIL),
        ("clock_synchronised", False, "clock", Health.WARN),
        ("clock_synchronised", None, "clock", Health.WARN),
        ("providers", ("AzureExecutionProvider",), "providers", Health.FAIL),
        ("cv2_distributions", (), "cv2", Health.FAIL),
        ("cv2_distributions", ("opencv-python", "opencv-python-headless"), "cv2", Health.FAIL),
        ("zygote_threads", 2, "zygote", Health.FAIL),
        ("zygote_threads", None, "zygote", Health.FAIL),
        ("open_files_max", 256, "open files", Health.WARN),
        ("open_files_max", 64, "open files", Health.FAIL),
    ],
)
def test_each_fault_is_found_by_its_check_alone_and_says_what_to_change(
    fact: str, value: Any, name: str, health: Health
) -> None:
    checks = diagnose(replace(GOOD, **{fact: value}))
    (bad,) = [check for check in checks if check.health is not Health.OK]
    assert (bad.name, bad.health) == (name, health)
    assert bad.change
    assert overall(checks) is health


@pytest.mark.parametrize("autogroup", [True, False, None])
def test_lever_in_effect_is_named(autogroup: bool | None) -> None:
    found = {check.name: check for check in diagnose(replace(GOOD, autogroup=autogroup))}
    where = {True: "session", False: "whole machine", None: "everywhere"}
    assert where[autogroup] in found["autogroup"].found
    assert bool(found["autogroup"].change) == bool(autogroup)


def test_missing_extra_is_no_fault_and_says_how_to_get_it() -> None:
    extra = next(check for check in diagnose(GOOD) if check.name == "extra train")
    assert extra.health is Health.OK
    assert "pip install 'sightloop[train]'" in extra.change


def test_worst_check_is_the_overall_health() -> None:
    both = replace(GOOD, cores=1, open_files_max=64)
    assert overall(diagnose(both)) is Health.FAIL


def test_no_quota_in_sight_is_said_as_that() -> None:
    found = {check.name: check for check in diagnose(replace(GOOD, quota_cores=None, weight=None))}
    assert found["cpu quota"].health is Health.OK
    assert "no CPU control group" in found["cpu quota"].found
