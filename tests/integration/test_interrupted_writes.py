"""Kill -9, ctrl-C and a full disk at the writes of everything that keeps something.

What is tried: every step of the pipeline with real MLflow, the store, transport, holds, the
registry and a slot's history. Afterwards a repetition must come to what undisturbed work comes to:
no version lost or doubled, nothing half-written read, no finished step done again, nothing left.

The writes are drawn with a seed, a few a scenario. `pytest -m slow` draws far more; the complete
sweep is `SIGHTLOOP_SWEEP=all pytest -m slow tests/integration/test_interrupted_writes.py`.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sightloop.testing.interrupted_work import SCENARIOS

_SEED = 20261126
_MANY = "40"
_FEW = {
    "step-ingest": 3,
    "step-split": 2,
    "step-train": 1,
    "step-evaluate": 1,
    "step-gate": 1,
    "step-register": 1,
    "store-add": 4,
    "store-import": 4,
    "store-hold": 3,
    "store-remove": 3,
    "export": 3,
    "registry-promote": 1,
    "history": 5,
}
_NEEDS_MLFLOW = ("pipeline", "step-register", "registry-")
_LIMIT_S = 4 * 3600


def _sweep(scenario: str, folder: Path, *options: str) -> dict[str, Any]:
    if scenario.startswith(_NEEDS_MLFLOW) and importlib.util.find_spec("mlflow") is None:
        pytest.skip("MLflow is not installed (extra `registry`)")
    command = [sys.executable, "-m", "sightloop.testing.interruptions", scenario, str(folder)]
    done = subprocess.run(
        [*command, "--seed", str(_SEED), *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=_LIMIT_S,
    )
    assert done.stdout, done.stderr[-4000:]
    value: dict[str, Any] = json.loads(done.stdout)
    return value


@pytest.mark.parametrize("scenario", _FEW)
def test_repetition_goes_on_after_any_interruption(scenario: str, tmp_path: Path) -> None:
    found = _sweep(scenario, tmp_path, "--tries", str(_FEW[scenario]))
    assert found["failures"] == []
    assert found["stopped"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_repetition_goes_on_after_an_interruption_at_any_write(
    scenario: str, tmp_path: Path
) -> None:
    tries = os.environ.get("SIGHTLOOP_SWEEP", _MANY)
    found = _sweep(scenario, tmp_path, *(() if tries == "all" else ("--tries", tries)))
    assert found["failures"] == []
