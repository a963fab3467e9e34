"""The cache of compiled engines: one folder for each network on each device and driver.

An engine belongs to the GPU, the driver and the versions that compiled it; any other would be
refused by the device or, worse, be slower. Invariant: a folder with `engine.json` holds everything
that the compiler wrote; one without it was left half-written and is emptied before the next try.
The whole cache may be deleted at any time, and an engine that is not being built may be removed
from it: whoever has loaded it keeps it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Final

from sightloop._support.files import write_bytes_atomic

DONE: Final = "engine.json"
_NAME_LETTERS: Final = 40
_DIGEST_DIGITS: Final = 12
_FOLDER: Final = re.compile(rf"[0-9a-f]{{{_DIGEST_DIGITS}}}-[0-9a-f]{{16}}")


@dataclass(frozen=True, slots=True)
class EngineKey:
    """What an engine depends on.

    Attributes:
        provider: What compiles it.
        device: Name of the GPU or CPU, with its capability.
        driver: Version of the driver; empty on a CPU.
        runtime: Versions of ONNX Runtime and of the compiler.
        options: What the compiler was told.
        digest: The release.
    """

    provider: str
    device: str
    driver: str
    runtime: str
    options: str
    digest: str

    def folder(self, cache: Path) -> Path:
        """Where its engine lies: readable, and no two keys at one place."""
        text = json.dumps(asdict(self), sort_keys=True).encode()
        readable = re.sub(r"[^a-z0-9]+", "-", f"{self.provider} {self.device}".lower()).strip("-")
        where = hashlib.sha256(text).hexdigest()[:16]
        return cache / readable[:_NAME_LETTERS] / f"{self.digest[:_DIGEST_DIGITS]}-{where}"


def is_built(folder: Path) -> bool:
    """Whether the folder holds a whole engine."""
    return (folder / DONE).is_file()


def build_once(cache: Path, key: EngineKey, compile_into: Callable[[Path], None]) -> Path:
    """Have an engine compiled unless it is there; several processes may ask at once.

    Args:
        cache: Folder of the cache; made if absent.
        key: Which engine.
        compile_into: Compiles it into the folder that it is given.

    Returns:
        The engine's folder.

    Raises:
        BackendError: As `compile_into`; the next call begins anew.
    """
    folder = key.folder(cache)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _alone(folder.with_suffix(".lock")):
        if not is_built(folder):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            compile_into(folder)
            value = json.dumps(asdict(key), indent=1, sort_keys=True)
            write_bytes_atomic(folder / DONE, value.encode() + b"\n")
    return folder


def find_engines(cache: Path) -> dict[Path, str]:
    """Folders of engines, whole or not, each with the beginning of its release's digest."""
    return {
        folder: folder.name[:_DIGEST_DIGITS]
        for folder in sorted(cache.glob("*/*"))
        if _FOLDER.fullmatch(folder.name) and folder.is_dir()
    }


def remove_engine(folder: Path) -> bool:
    """Remove one engine; False where it is being built or cannot be removed."""
    lock = folder.with_suffix(".lock")
    try:
        with _alone(lock, wait=False):
            shutil.rmtree(folder, ignore_errors=True)
            lock.unlink()
    except OSError:
        return False
    return not folder.exists()


@contextlib.contextmanager
def _alone(lock: Path, *, wait: bool = True) -> Iterator[None]:
    """One process at a time; the kernel lets go of the lock of one that dies.

    Raises:
        BlockingIOError: Another process has it, and we do not wait.
    """
    while True:
        with open(lock, "a") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(lock, stream):
                yield
                return


def _is_at(path: Path, stream: IO[str]) -> bool:
    """Whether the open file is still the one of that name: its engine may have been removed."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(stream.fileno()))
    except FileNotFoundError:
        return False
