import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import typer

from sightloop.app import doctor_probes
from sightloop.app.doctor import Facts
from sightloop.cli.doctor import doctor

FIT = Facts(
    cores=2,
    machine_cores=2,
    processor="Xeon",
    autogroup=True,
    low_share=0.015,
    quota_cores=math.inf,
    weight=None,
    workspace=Path("w"),
    workspace_writable=True,
    free_bytes=50 << 30,
    clock_synchronised=False,
    providers=("CPUExecutionProvider",),
    cv2_distributions=("opencv-python-headless",),
    zygote_threads=1,
    open_files_max=4096,
    versions={"python": "3.11.7"},
    extras={},
)


def found(monkeypatch: pytest.MonkeyPatch, facts: Facts) -> None:
    monkeypatch.setattr(doctor_probes, "find_facts", lambda *_: facts)


def test_warning_is_shown_with_its_change_and_is_no_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found(monkeypatch, FIT)
    doctor(Path("w"))
    lines = capsys.readouterr().out.splitlines()
    at = next(place for place, line in enumerate(lines) if line.startswith("WARN  clock"))
    assert lines[at + 1].strip().startswith("-> ")


def test_failure_ends_with_the_documented_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found(monkeypatch, replace(FIT, zygote_threads=3))
    with pytest.raises(typer.Exit) as end:
        doctor(Path("w"), json_=True)
    assert end.value.exit_code == 2
    told = json.loads(capsys.readouterr().out)
    assert told["health"] == "FAIL"
    assert {one["name"]: one["health"] for one in told["checks"]}["zygote"] == "FAIL"
