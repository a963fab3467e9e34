"""A pipeline killed at any point goes on from its finished steps and reads nothing half-written.

The run is a process of its own that kills itself with SIGKILL at the n-th event, an event being
a progress report, a flush to disk or a rename: in the middle of a step, while its outputs are
published, between two steps.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from sightloop._support.clock import SystemClock
from sightloop._support.files import TEMPORARY_PREFIX
from sightloop.config.workspace import Workspace, open_workspace
from sightloop.pipeline.cache import tree_digest
from sightloop.pipeline.display import SilentDisplay
from sightloop.pipeline.run import run_steps
from sightloop.pipeline.step import Step
from sightloop.testing.toy_steps import calls, toy_chain, toy_step

_TEXTS = ("one", "two", "three")
_SEED = 20260131
_KILLS = 6
_CHILD = """
import os, signal, sys
from pathlib import Path
from sightloop._support.clock import SystemClock
from sightloop.config.workspace import open_workspace
from sightloop.pipeline.display import SilentDisplay
from sightloop.pipeline.run import run_steps
from sightloop.testing.toy_steps import toy_chain, toy_step

root, die_at, texts = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
events = 0

def count():
    global events
    events += 1
    if events == die_at:
        os.kill(os.getpid(), signal.SIGKILL)

def counted(function):
    def call(*args, **kwargs):
        count()
        return function(*args, **kwargs)
    return call

class Display(SilentDisplay):
    def working(self, step, fraction, text):
        count()

os.replace, os.fsync = counted(os.replace), counted(os.fsync)
steps = (*toy_chain(*texts), toy_step("last", reads=["c"], cacheable=False))
run_steps(steps, open_workspace(root), line="plate", config={}, display=Display(),
          clock=SystemClock())
print(events)
"""


def _child(root: Path, die_at: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", _CHILD, str(root), str(die_at), *_TEXTS]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def _steps() -> tuple[Step, ...]:
    return (*toy_chain(*_TEXTS), toy_step("last", reads=["c"], cacheable=False))


def _rerun(workspace: Workspace) -> tuple[dict[str, str], list[str]]:
    """Digest of each step's output, and which steps were run."""
    before = len(calls(workspace))
    _, made = run_steps(
        _steps(),
        workspace,
        line="plate",
        config={},
        display=SilentDisplay(),
        clock=SystemClock(),
    )
    digests = {name: tree_digest(entry.outputs["out"]) for name, entry in made.items()}
    return digests, calls(workspace)[before:]


def _published(workspace: Workspace) -> set[str]:
    """Steps with an entry under a final name."""
    return {
        folder.parent.name
        for folder in workspace.cache.glob("*/*")
        if not folder.name.startswith(TEMPORARY_PREFIX)
    }


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, dict[str, str]]:
    """How many events an undisturbed run has, and what it makes."""
    root = tmp_path_factory.mktemp("clean")
    done = _child(root, 0)
    assert done.returncode == 0, done.stderr
    return int(done.stdout), _rerun(open_workspace(root))[0]


@pytest.mark.parametrize("number", range(_KILLS))
def test_rerun_after_a_kill_continues_and_makes_the_same(
    tmp_path: Path, clean: tuple[int, dict[str, str]], number: int
) -> None:
    events, expected = clean
    points = sorted(random.Random(_SEED).sample(range(1, events + 1), _KILLS))
    workspace = open_workspace(tmp_path)
    killed = _child(tmp_path, points[number])
    assert killed.returncode == -9, killed.stderr
    finished = _published(workspace)
    digests, ran = _rerun(workspace)
    assert digests == expected
    assert not finished & set(ran)
    assert finished | set(ran) == {"a", "b", "c", "last"}
    assert not list(tmp_path.rglob(f"{TEMPORARY_PREFIX}*"))
    states = {json.loads(path.read_bytes())["state"] for path in tmp_path.glob("runs/*/run.json")}
    assert "running" not in states


def test_second_run_of_a_line_is_refused_while_the_first_lives_and_free_after_its_kill(
    tmp_path: Path,
) -> None:
    holder = """
import sys
from pathlib import Path
from sightloop.config.workspace import open_workspace
from sightloop.pipeline.lock import hold_line
with hold_line(open_workspace(Path(sys.argv[1])), "plate"):
    print("held", flush=True)
    sys.stdin.read()
"""
    command = [sys.executable, "-c", holder, str(tmp_path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        refused = _child(tmp_path, 0)
        assert refused.returncode == 1
        assert f"process {process.pid}" in refused.stderr
        process.kill()
    assert _child(tmp_path, 0).returncode == 0
