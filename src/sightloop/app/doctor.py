"""What a machine's facts mean for serving: each OK, WARN or FAIL, with what to change.

Pure: `doctor_probes.py` finds the facts, this file judges them. FAIL means that serving does not
work or loses its promises; WARN that it works worse than it could. A fact that could not be found
is a WARN that says so, never an OK.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

LOW_SHARE_MAX: Final = 0.10
"""Share of a contested core at nice 19; 0.015 is the kernel's own, 0.5 is no effect at all."""
FREE_BYTES_LEAST: Final = 200 << 20
FREE_BYTES_WISE: Final = 5 << 30
OPEN_FILES_LEAST: Final = 128
OPEN_FILES_WISE: Final = 1024
_EXTRA_USES: Final = {
    "train": "to train with Ultralytics (AGPL-3.0)",
    "train-compact": "to train with the permissive trainer",
    "registry": "to run the pipeline",
    "grpc": "to serve gRPC",
    "openssf": "to write OpenSSF signatures",
}


class Health(StrEnum):
    """How a check ended, worst last."""

    OK = "OK"
    WARN = "WARN"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Facts:
    """What was found on this machine; None: it could not be found.

    Attributes:
        cores: That this process may use.
        machine_cores: That the machine has.
        processor: Its name.
        autogroup: Whether the kernel groups processes by session.
        low_share: Share of a contested core that a child's thread at nice 19 got.
        quota_cores: CPU time that the control group may use, in cores; infinite: no limit.
        weight: The control group's CPU weight as the kernel states it, and under which name.
        workspace: The folder asked about.
        workspace_writable: Whether it, or the folder it would be made in, can be written.
        free_bytes: On its file system.
        clock_synchronised: Whether the kernel says that something keeps its clock.
        providers: ONNX Runtime's execution providers.
        cv2_distributions: Installed distributions that bring a `cv2`.
        zygote_threads: Threads of a zygote started for this purpose.
        open_files_max: Soft limit of open files.
        versions: Of Python, Sightloop and what it runs on, by name.
        extras: Version of each optional part by the extra's name; None: not installed.
    """

    cores: int
    machine_cores: int
    processor: str
    autogroup: bool | None
    low_share: float | None
    quota_cores: float | None
    weight: str | None
    workspace: Path
    workspace_writable: bool
    free_bytes: int | None
    clock_synchronised: bool | None
    providers: tuple[str, ...]
    cv2_distributions: tuple[str, ...]
    zygote_threads: int | None
    open_files_max: int
    versions: Mapping[str, str]
    extras: Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the diagnosis.

    Attributes:
        found: What is so, in words.
        change: What to do about it; empty where nothing is to be done.
    """

    name: str
    health: Health
    found: str
    change: str = ""

    def as_dict(self) -> dict[str, str]:
        """As JSON values."""
        return {
            "name": self.name,
            "health": self.health.value,
            "found": self.found,
            "change": self.change,
        }


def diagnose(facts: Facts) -> tuple[Check, ...]:
    """Every check, in the order in which a person asks."""
    return (
        _versions(facts),
        _cores(facts),
        _priorities(facts),
        _autogroup(facts),
        _quota(facts),
        _workspace(facts),
        _clock(facts),
        _providers(facts),
        _cv2(facts),
        _zygote(facts),
        _open_files(facts),
        *_extras(facts),
    )


def overall(checks: tuple[Check, ...]) -> Health:
    """The worst of them."""
    order = list(Health)
    return max((check.health for check in checks), key=order.index, default=Health.OK)


def _versions(facts: Facts) -> Check:
    found = ", ".join(f"{name} {version}" for name, version in facts.versions.items())
    return Check("versions", Health.OK, found)


def _cores(facts: Facts) -> Check:
    found = f"{facts.cores} of {facts.machine_cores}, {facts.processor}"
    if facts.cores > 1:
        return Check("cores", Health.OK, found)
    change = "an update is proven on the core that answers: give the server a second core"
    return Check("cores", Health.WARN, found, change)


def _priorities(facts: Facts) -> Check:
    if facts.low_share is None:
        return Check(
            "priorities",
            Health.WARN,
            "could not be measured: the core was busy with other work",
            "run `sightloop doctor` again on a quiet machine",
        )
    found = f"a thread at nice 19 got {facts.low_share:.1%} of a contested core"
    if facts.low_share <= LOW_SHARE_MAX:
        return Check("priorities", Health.OK, f"{found}: proving a candidate gives way to frames")
    change = (
        "nice levels do not count here, so an update delays frames: run on a kernel with the fair "
        "scheduler (CFS, EEVDF), or give the server a core more than its traffic needs"
    )
    return Check("priorities", Health.WARN, found, change)


def _autogroup(facts: Facts) -> Check:
    if facts.autogroup is None:
        return Check("autogroup", Health.OK, "the kernel has none: nice levels count everywhere")
    if not facts.autogroup:
        return Check("autogroup", Health.OK, "off: nice levels count on the whole machine")
    found = "on: nice levels count inside the server's own session, where its workers are"
    change = (
        "other sessions get an equal share whatever their nice level; if they are busy: "
        "echo -10 > /proc/PID/autogroup with the server's PID, as root"
    )
    return Check("autogroup", Health.OK, found, change)


def _quota(facts: Facts) -> Check:
    weight = f"; {facts.weight}" if facts.weight else ""
    if facts.quota_cores is None:
        found = f"no CPU control group is in sight{weight}"
        return Check("cpu quota", Health.OK, found)
    if facts.quota_cores >= facts.cores:
        return Check("cpu quota", Health.OK, f"none below the usable cores{weight}")
    found = f"{facts.quota_cores:.2f} cores for {facts.cores} usable ones{weight}"
    change = (
        "used up, the kernel pauses frames and candidate alike, and nice does not help: pin the "
        "server to cores (cpuset) instead of a quota, or raise it"
    )
    return Check("cpu quota", Health.WARN, found, change)


def _workspace(facts: Facts) -> Check:
    if not facts.workspace_writable:
        change = "give this user the folder, or name another with --workspace"
        return Check("workspace", Health.FAIL, f"{facts.workspace}: cannot be written", change)
    if facts.free_bytes is None:
        found = f"{facts.workspace}: free space unknown"
        return Check("workspace", Health.WARN, found, "look at it with df")
    found = f"{facts.workspace}: {facts.free_bytes / 2**30:.1f} GiB free"
    change = "free some, or name a workspace on another disk with --workspace"
    if facts.free_bytes < FREE_BYTES_LEAST:
        return Check("workspace", Health.FAIL, f"{found}: no room for a release", change)
    if facts.free_bytes < FREE_BYTES_WISE:
        return Check("workspace", Health.WARN, f"{found}: training needs about 5", change)
    return Check("workspace", Health.OK, found)


def _clock(facts: Facts) -> Check:
    if facts.clock_synchronised:
        return Check("clock", Health.OK, "synchronised, says the kernel")
    known = facts.clock_synchronised is not None
    return Check(
        "clock",
        Health.WARN,
        "not synchronised, says the kernel" if known else "the kernel does not say",
        "histories and events carry its time: run chrony or systemd-timesyncd (on the host)",
    )


def _providers(facts: Facts) -> Check:
    found = ", ".join(facts.providers) or "none"
    if "CPUExecutionProvider" in facts.providers:
        return Check("providers", Health.OK, f"{found}; serving uses the CPU's")
    change = "install it anew: pip install --force-reinstall onnxruntime"
    return Check("providers", Health.FAIL, f"ONNX Runtime: {found}", change)


def _cv2(facts: Facts) -> Check:
    found = ", ".join(facts.cv2_distributions) or "none"
    if len(facts.cv2_distributions) == 1:
        return Check("cv2", Health.OK, found)
    change = (
        "exactly one may bring cv2, several overwrite each other: pip uninstall -y "
        f"{' '.join(facts.cv2_distributions)}; pip install opencv-python-headless"
        if facts.cv2_distributions
        else "pip install opencv-python-headless"
    )
    return Check("cv2", Health.FAIL, found, change)


def _zygote(facts: Facts) -> Check:
    if facts.zygote_threads == 1:
        return Check("zygote", Health.OK, "1 thread: forking workers is safe")
    if facts.zygote_threads is None:
        change = "its own messages, above, say why; most often a library that cannot be imported"
        return Check("zygote", Health.FAIL, "it does not start: no worker can be forked", change)
    found = f"{facts.zygote_threads} threads: a forked worker may hang"
    change = "something imported starts threads: look for a sitecustomize, a profiler or an agent"
    return Check("zygote", Health.FAIL, found, change)


def _open_files(facts: Facts) -> Check:
    found = f"{facts.open_files_max} (each connection and worker takes one)"
    if facts.open_files_max >= OPEN_FILES_WISE:
        return Check("open files", Health.OK, found)
    health = Health.WARN if facts.open_files_max >= OPEN_FILES_LEAST else Health.FAIL
    return Check("open files", health, found, "ulimit -n 65536, or LimitNOFILE= of the service")


def _extras(facts: Facts) -> tuple[Check, ...]:
    return tuple(
        Check(f"extra {name}", Health.OK, version)
        if version is not None
        else Check(
            f"extra {name}",
            Health.OK,
            "not installed",
            f"{_EXTRA_USES.get(name, 'to use it')}: pip install 'sightloop[{name}]'",
        )
        for name, version in facts.extras.items()
    )
