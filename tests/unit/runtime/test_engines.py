from __future__ import annotations

import dataclasses
import multiprocessing
from pathlib import Path
from typing import IO

import pytest

from sightloop.errors import ModelLoadError
from sightloop.runtime import engines
from sightloop.runtime.engines import (
    EngineKey,
    build_once,
    find_engines,
    is_built,
    remove_engine,
)

KEY = EngineKey("tensorrt", "NVIDIA L4 8.9", "550.54", "onnxruntime 1.32.0", "fp32", "d" * 64)


def _write(folder: Path) -> None:
    (folder / "part.engine").write_bytes(b"engine")


def test_engine_is_compiled_once(tmp_path: Path) -> None:
    built: list[Path] = []

    def compile_into(folder: Path) -> None:
        _write(folder)
        built.append(folder)

    for _ in range(2):
        build_once(tmp_path, KEY, compile_into)
    assert built == [KEY.folder(tmp_path)]
    assert is_built(built[0])


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(EngineKey)])
def test_anything_that_an_engine_depends_on_is_another_engine(tmp_path: Path, field: str) -> None:
    other = dataclasses.replace(KEY, **{field: "another"})
    assert other.folder(tmp_path) != KEY.folder(tmp_path)


def test_folder_names_provider_and_device(tmp_path: Path) -> None:
    assert KEY.folder(tmp_path).parent.name == "tensorrt-nvidia-l4-8-9"


def test_failed_build_leaves_nothing_that_counts(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        _write(folder)
        raise ModelLoadError("no")

    with pytest.raises(ModelLoadError):
        build_once(tmp_path, KEY, fail)
    assert not is_built(KEY.folder(tmp_path))


def test_half_written_engine_is_not_built_upon(tmp_path: Path) -> None:
    folder = KEY.folder(tmp_path)
    folder.mkdir(parents=True)
    (folder / "stale.engine").write_bytes(b"half")
    build_once(tmp_path, KEY, _write)
    assert not (folder / "stale.engine").exists()
    assert (folder / "part.engine").exists()


def test_removed_engine_is_built_again_and_its_lock_is_gone(tmp_path: Path) -> None:
    folder = build_once(tmp_path, KEY, _write)
    assert find_engines(tmp_path) == {folder: KEY.digest[:12]}
    assert remove_engine(folder)
    assert find_engines(tmp_path) == {}
    assert not list(tmp_path.glob("*/*"))
    assert is_built(build_once(tmp_path, KEY, _write))


def test_engine_that_is_being_built_is_not_removed(tmp_path: Path) -> None:
    removed: list[bool] = []

    def compile_into(folder: Path) -> None:
        removed.append(remove_engine(folder))
        _write(folder)

    assert is_built(build_once(tmp_path, KEY, compile_into))
    assert removed == [False]


def test_who_waited_for_a_removed_engine_builds_alone(tmp_path: Path) -> None:
    """The lock that it waited for is no longer the one of that name."""
    folder = build_once(tmp_path, KEY, _write)
    lock = folder.with_suffix(".lock")
    opened: list[Path] = []
    real = open

    def open_late(path: Path, mode: str) -> IO[str]:
        stream = real(path, mode)
        if not opened:
            opened.append(path)
            lock.unlink()  # between the opening and the locking
        return stream

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engines, "open", open_late, raising=False)
        with engines._alone(lock):
            assert lock.exists()
            with pytest.raises(BlockingIOError), engines._alone(lock, wait=False):
                pass


def _build_and_count(cache: Path, log: Path) -> None:
    def compile_into(folder: Path) -> None:
        with open(log, "a") as stream:
            stream.write("built\n")
        _write(folder)

    build_once(cache, KEY, compile_into)


def test_workers_that_ask_at_once_compile_once(tmp_path: Path) -> None:
    log = tmp_path / "log"
    context = multiprocessing.get_context("spawn")
    workers = [
        context.Process(target=_build_and_count, args=(tmp_path / "cache", log)) for _ in range(2)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    assert log.read_text() == "built\n"
