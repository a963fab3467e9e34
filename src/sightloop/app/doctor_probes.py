"""Finds the facts that `doctor.py` judges: reads /proc and /sys, starts a zygote, asks libraries.

Leaves the machine as it was: the workspace is not made, and what is started is ended. A fact that
cannot be found is None, for the judgement to say so.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import math
import os
import platform
import resource
import shutil
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from sightloop._support.clock import Clock
from sightloop._support.hardware import describe_hardware
from sightloop.app.doctor import Facts
from sightloop.app.priority_probe import low_priority_share
from sightloop.config.environment import inherited_environment
from sightloop.errors import ServingError
from sightloop.runtime.onnx_backend import available_providers
from sightloop.serving.zygote import Zygote

_AUTOGROUP: Final = Path("/proc/sys/kernel/sched_autogroup_enabled")
_CGROUPS: Final = Path("/sys/fs/cgroup")
_OWN_CGROUPS: Final = Path("/proc/self/cgroup")
_VERSIONS: Final = ("sightloop", "onnxruntime", "numpy", "opencv-python-headless")
_EXTRAS: Final = {
    "train": "ultralytics-opencv-headless",
    "train-compact": "torch",
    "registry": "mlflow",
    "grpc": "grpcio",
    "openssf": "model-signing",
}

_TIMEX_BYTES: Final = 512
_TIMEX_STATUS_OFFSET: Final = 40
"""Of `status` in the kernel's `struct timex` on 64-bit Linux: 4 + 4 (padding) + 4 x 8 bytes."""
_STA_UNSYNC: Final = 0x40


def find_facts(workspace: Path, clock: Clock) -> Facts:
    """Look at this machine; takes about a second.

    Args:
        workspace: The folder a server would use; need not be there yet.
        clock: For the contest of priorities.
    """
    quota_cores, weight = control_group(_CGROUPS, _read(_OWN_CGROUPS) or "")
    place = _nearest_folder(workspace)
    return Facts(
        cores=len(os.sched_getaffinity(0)),
        machine_cores=os.cpu_count() or 1,
        processor=describe_hardware().rpartition(",")[0],
        autogroup=_autogroup(),
        low_share=low_priority_share(clock),
        quota_cores=quota_cores,
        weight=weight,
        workspace=workspace,
        workspace_writable=place.is_dir() and os.access(place, os.W_OK | os.X_OK),
        free_bytes=shutil.disk_usage(place).free,
        clock_synchronised=_clock_synchronised(),
        providers=available_providers(),
        cv2_distributions=_distributions_of("cv2"),
        zygote_threads=zygote_threads(inherited_environment()),
        open_files_max=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        versions={"python": platform.python_version(), **_versions(_VERSIONS)},
        extras={extra: _version(name) for extra, name in _EXTRAS.items()},
    )


def control_group(root: Path, own: str) -> tuple[float | None, str | None]:
    """What the CPU control group allows.

    Args:
        root: Where control groups are mounted: /sys/fs/cgroup.
        own: What /proc/self/cgroup says.

    Returns:
        The tightest quota on the way to the root, in cores (infinite without one, None: no group
        is in sight), and the group's weight with the kernel's name for it.
    """
    quota: float | None = None
    weight: str | None = None
    for folder in _cpu_folders(root, own):
        for found in (_quota_v2(folder), _quota_v1(folder)):
            if found is not None:
                quota = found if quota is None else min(quota, found)
        for name in ("cpu.weight", "cpu.shares"):
            text = _read(folder / name)
            if weight is None and text is not None:
                weight = f"{name} {text}"
    return quota, weight


def _cpu_folders(root: Path, own: str) -> Iterator[Path]:
    """The group's folder and those above it, for both versions of control groups."""
    for line in own.splitlines():
        number, controllers, path = line.split(":", 2)
        if number != "0" and "cpu" not in controllers.split(","):
            continue
        mounts = [root] if number == "0" else [root / controllers, root / "cpu"]
        mount = next((one for one in mounts if one.is_dir()), None)
        parts = Path(path.lstrip("/")).parts
        for length in range(len(parts), -1, -1):
            if mount is not None:
                yield mount.joinpath(*parts[:length])


def _quota_v2(folder: Path) -> float | None:
    words = (_read(folder / "cpu.max") or "").split()
    if len(words) != 2:
        return None
    return math.inf if words[0] == "max" else int(words[0]) / int(words[1])


def _quota_v1(folder: Path) -> float | None:
    quota = _read(folder / "cpu.cfs_quota_us")
    period = _read(folder / "cpu.cfs_period_us")
    if quota is None or period is None:
        return None
    return math.inf if int(quota) <= 0 else int(quota) / int(period)


def zygote_threads(environment: dict[str, str]) -> int | None:
    """Threads of a zygote as a server would start it; None: it does not start."""
    try:
        zygote = Zygote(environment=environment)
        zygote.wait_until_ready()
    except ServingError:
        return None
    try:
        return len(list(Path(f"/proc/{zygote.pid}/task").iterdir()))
    finally:
        zygote.close()


def _autogroup() -> bool | None:
    text = _read(_AUTOGROUP)
    return None if text is None else text == "1"


def _clock_synchronised() -> bool | None:
    """What the kernel's clock discipline says; reading it needs no rights."""
    library = ctypes.CDLL(None, use_errno=True)
    adjust = getattr(library, "adjtimex", None)
    if adjust is None or ctypes.sizeof(ctypes.c_long) != 8:
        return None
    buffer = ctypes.create_string_buffer(_TIMEX_BYTES)
    if adjust(buffer) < 0:
        return None
    (status,) = struct.unpack_from("i", buffer, _TIMEX_STATUS_OFFSET)
    return not status & _STA_UNSYNC


def _nearest_folder(path: Path) -> Path:
    """`path`, or the nearest thing above it that exists."""
    return next(one for one in (path.absolute(), *path.absolute().parents) if one.exists())


def _distributions_of(package: str) -> tuple[str, ...]:
    found = importlib.metadata.packages_distributions()
    return tuple(sorted(set(found.get(package, ()))))


def _versions(names: tuple[str, ...]) -> Mapping[str, str]:
    found = {name: _version(name) for name in names}
    return {name: version for name, version in found.items() if version is not None}


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _read(path: Path) -> str | None:
    """A small file of the kernel's, stripped; None where it is not there or not for us."""
    try:
        return path.read_text().strip()
    except OSError:
        return None
