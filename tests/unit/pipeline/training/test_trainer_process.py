from __future__ import annotations

import importlib.util
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sightloop.errors import ConfigError, MissingExtraError, TrainerError
from sightloop.pipeline.training import trainer_process
from sightloop.pipeline.training.results import read_results
from sightloop.pipeline.training.trainer import Recipe, TrainJob
from sightloop.pipeline.training.trainer_process import TrainerProcess
from sightloop.testing.plate_dataset import write_plate_dataset

FAKE = "sightloop.testing.fake_trainer"
WAIT_S = 20.0


@pytest.fixture
def job(tmp_path: Path) -> Callable[[str], TrainJob]:
    write_plate_dataset(tmp_path / "plates", {"train": 2}, side_px=64)

    def make(architecture: str) -> TrainJob:
        output = tmp_path / "training"
        output.mkdir()
        recipe = Recipe(architecture=architecture, side_px=64, epochs=1)
        return TrainJob(tmp_path / "plates", output, None, recipe)

    return make


@pytest.fixture
def trainer(tmp_path: Path) -> TrainerProcess:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    return TrainerProcess(module=FAKE, scratch=scratch)


def _ignore(fraction: float, text: str) -> None:
    """For trainings that nobody watches."""


def _ends(pid: int) -> bool:
    """Whether a process of ours ends soon, by the kernel's own word."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    import select

    ready, _, _ = select.select([handle], [], [], WAIT_S)
    os.close(handle)
    return bool(ready)


def test_child_runs_at_the_lowest_priority_in_our_session(
    trainer: TrainerProcess, job: Callable[[str], TrainJob]
) -> None:
    said: list[str] = []
    trainer.train(job("tiny"), lambda _, text: said.append(text))
    assert re.fullmatch(r"pid \d+ niceness 19", said[0])
    assert os.nice(0) < 19


def test_a_frameworks_own_words_are_no_events(
    trainer: TrainerProcess, job: Callable[[str], TrainJob]
) -> None:
    said: list[str] = []
    trainer.train(job("tiny"), lambda _, text: said.append(text))
    assert not any("own words" in text for text in said)
    assert said[-1] == "epoch 1/1"


def test_failing_child_is_named_with_the_end_of_its_log(
    trainer: TrainerProcess, job: Callable[[str], TrainJob]
) -> None:
    with pytest.raises(TrainerError) as caught:
        trainer.train(job("raises"), _ignore)
    assert caught.value.reason == "trainer_failed"
    assert "RuntimeError: the loss exploded" in caught.value.message
    assert "a framework's own words" in caught.value.message


def test_killed_child_is_an_error_and_leaves_no_result(
    trainer: TrainerProcess, job: Callable[[str], TrainJob]
) -> None:
    order = job("dies")
    with pytest.raises(TrainerError) as caught:
        trainer.train(order, _ignore)
    assert caught.value.reason == "trainer_died"
    assert "signal 9" in caught.value.message
    assert list(order.output.iterdir()) == []


def test_private_folder_goes_however_the_call_ends(
    trainer: TrainerProcess, job: Callable[[str], TrainJob]
) -> None:
    with pytest.raises(TrainerError):
        trainer.train(job("raises"), _ignore)
    assert list(trainer.scratch.iterdir()) == []


def test_interrupted_caller_ends_its_child(
    trainer: TrainerProcess, job: Callable[[str], TrainJob]
) -> None:
    pids: list[int] = []

    def interrupt(_: float, text: str) -> None:
        pids.append(int(text.split()[1]))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainer.train(job("hangs"), interrupt)
    assert _ends(pids[0])


def test_child_dies_with_its_killed_parent(job: Callable[[str], TrainJob], tmp_path: Path) -> None:
    order = job("hangs")
    program = (
        "import sys; from pathlib import Path\n"
        "from sightloop.pipeline.training.trainer import Recipe, TrainJob\n"
        "from sightloop.pipeline.training.trainer_process import TrainerProcess\n"
        "data, output, scratch = map(Path, sys.argv[1:])\n"
        "recipe = Recipe(architecture='hangs', side_px=64, epochs=1)\n"
        f"trainer = TrainerProcess(module={FAKE!r}, scratch=scratch)\n"
        "trainer.train(TrainJob(data, output, None, recipe),\n"
        "              lambda f, text: print(text, flush=True))\n"
    )
    arguments = [str(order.dataset), str(order.output), str(tmp_path)]
    with subprocess.Popen(
        [sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline().split()[1])
        parent.send_signal(signal.SIGKILL)
    assert _ends(child)


def test_training_without_memory_goes_on_with_half_the_batch(
    trainer: TrainerProcess, job: Callable[[str], TrainJob], tmp_path: Path
) -> None:
    order = job("starves")
    order = replace(order, recipe=replace(order.recipe, batch=16), kept=tmp_path / "kept")
    said: list[str] = []
    trainer.train(order, lambda _, text: said.append(text))
    results = read_results(order.output)
    assert (results.batch, results.recipe.batch) == (4, 16)
    assert [text for text in said if "memory" in text] == [
        "out of memory with batch 16, goes on with 8",
        "out of memory with batch 8, goes on with 4",
    ]
    said.clear()
    trainer.train(order, lambda _, text: said.append(text))
    assert not any("memory" in text for text in said)  # the batch that fitted is remembered


def test_training_without_memory_for_one_image_is_an_error(
    trainer: TrainerProcess, job: Callable[[str], TrainJob], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel kills each attempt, by its own count."""
    kills = iter(range(100))
    monkeypatch.setattr(trainer_process, "kernel_kills", lambda: next(kills))
    order = job("dies")
    said: list[str] = []
    with pytest.raises(TrainerError) as caught:
        trainer.train(
            replace(order, recipe=replace(order.recipe, batch=2)), lambda _, text: said.append(text)
        )
    assert caught.value.reason == "out_of_memory"
    assert [text for text in said if "memory" in text] == [
        "out of memory with batch 2, goes on with 1"
    ]


def test_trainer_that_reaches_out_is_refused_and_named(
    trainer: TrainerProcess, job: Callable[[str], TrainJob], caplog: pytest.LogCaptureFixture
) -> None:
    trainer.train(job("phones"), _ignore)
    asked = [str(vars(one)["asked"]) for one in caplog.records]
    assert {one.message for one in caplog.records} == {"trainer_network_refused"}
    assert len(asked) == 4
    assert asked[0] == "socket.getaddrinfo 192.0.2.1"
    assert asked[1] == "socket.getaddrinfo example.org"
    assert asked[2].endswith("-m pip install nothing")
    assert asked[3] == "os.system curl http://192.0.2.1"


def test_missing_framework_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError) as caught:
        trainer_process.trainer_process("ultralytics", tmp_path)
    assert "pip install 'sightloop[train]'" in caught.value.message


def test_missing_torch_names_the_permissive_extra(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError) as caught:
        trainer_process.trainer_process("compact", tmp_path)
    assert "pip install 'sightloop[train-compact]'" in caught.value.message


def test_unknown_trainer_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        trainer_process.trainer_process("other", tmp_path)
    assert caught.value.reason == "trainer_unknown"
    assert "ultralytics, compact" in caught.value.message


def test_the_frameworks_stay_out_of_this_process(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "import sightloop.pipeline.training.trainer_process\n"
        "assert 'sightloop.pipeline.training.ultralytics_trainer' in sys.modules\n"
        "assert 'sightloop.pipeline.training.compact_trainer' in sys.modules\n"
        "assert not {'torch', 'ultralytics'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
