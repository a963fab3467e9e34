"""Metrics that are made when Prometheus asks: queues, workers, memory, GPU, and Triton's names.

Requests pay nothing for them. A scrape runs on a thread of its own and only reads.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from prometheus_client.core import Metric

from sightloop.serving.line import ServedLine
from sightloop.serving.tally import ReleaseCounts
from sightloop.serving.workers import Worker
from sightloop.telemetry.nvidia_gpu import GpuProbe, GpuUse
from sightloop.telemetry.process_memory import proportional_bytes

Labels = tuple[str, ...]
Sample = tuple[str, Labels, float]


@dataclass(frozen=True, slots=True)
class Family:
    """One metric that is made at a scrape."""

    name: str
    kind: Literal["gauge", "counter"]
    labels: Labels
    help: str

    @property
    def exposed(self) -> str:
        """The name of its samples. Triton's counters have no `_total`, and boards know them so."""
        own = self.kind == "counter" and not self.name.startswith("nv_")
        return f"{self.name}_total" if own else self.name


_RELEASE = ("line", "semver", "digest")
_TRITON = ("model", "version")
FAMILIES: Final = (
    Family("sightloop_requests_waiting", "gauge", ("line",), "Requests without a worker."),
    Family("sightloop_requests_running", "gauge", ("line",), "Requests in workers."),
    Family("sightloop_answers", "counter", _RELEASE, "Answers by release."),
    Family(
        "sightloop_stage_seconds", "counter", ("line", "stage"), "Time of all answers, by stage."
    ),
    Family("sightloop_workers", "gauge", ("line", "role", "state"), "Worker processes."),
    Family("sightloop_update_state", "gauge", ("line", "state"), "1 for the candidate's state."),
    Family("sightloop_memory_bytes", "gauge", ("line", "role"), "Memory of a role's processes."),
    Family("sightloop_gpu_memory_used_bytes", "gauge", ("gpu",), "GPU memory in use."),
    Family("sightloop_gpu_memory_total_bytes", "gauge", ("gpu",), "GPU memory there is."),
    Family("sightloop_gpu_busy_ratio", "gauge", ("gpu",), "Share of time in which a kernel ran."),
    Family("sightloop_worker_gpu_memory_bytes", "gauge", ("line", "role"), "GPU memory of a role."),
    Family("nv_inference_request_success", "counter", _TRITON, "Triton: answers."),
    Family("nv_inference_request_failure", "counter", _TRITON, "Triton: requests without one."),
    Family("nv_inference_count", "counter", _TRITON, "Triton: frames inferred."),
    Family("nv_inference_exec_count", "counter", _TRITON, "Triton: runs of the network."),
    Family("nv_inference_request_duration_us", "counter", _TRITON, "Triton: end to end."),
    Family("nv_inference_queue_duration_us", "counter", _TRITON, "Triton: waiting."),
    Family("nv_inference_compute_input_duration_us", "counter", _TRITON, "Triton: before it."),
    Family("nv_inference_compute_infer_duration_us", "counter", _TRITON, "Triton: the network."),
    Family("nv_inference_compute_output_duration_us", "counter", _TRITON, "Triton: after it."),
)
"""All of them; docs/reference/metrics.md is held against this table."""


class LineCollector:
    """Registered with the server's registry."""

    def __init__(
        self,
        lines: Mapping[str, ServedLine],
        *,
        zygote_pid: Callable[[], int | None],
        gpu: GpuProbe | None = None,
    ) -> None:
        self._lines = lines
        self._zygote_pid = zygote_pid
        self._gpu = gpu or GpuProbe()

    def machine(self, name: str) -> dict[str, Any]:
        """Memory by role of a line and of what all lines share, and the GPUs, as JSON values."""
        roles = workers_by_role(self._lines[name])
        pids = {role: [worker.pid for worker in workers] for role, workers in roles.items()}
        zygote = self._zygote_pid()
        pids |= {"front": [os.getpid()], "zygote": [zygote] if zygote is not None else []}
        return {
            "memory_bytes": {
                role: sum(proportional_bytes(pid) or 0 for pid in members)
                for role, members in sorted(pids.items())
            },
            "gpus": [
                {
                    "gpu": use.gpu,
                    "busy_fraction": use.busy_fraction,
                    "memory_used_bytes": use.used_bytes,
                    "memory_total_bytes": use.total_bytes,
                }
                for use in self._gpu.read()
            ],
        }

    def describe(self) -> Iterable[Metric]:
        """Names are known; nothing is read for them."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Read everything once."""
        samples: dict[str, list[tuple[Labels, float]]] = {family.name: [] for family in FAMILIES}
        for name, labels, value in self._samples():
            samples[name].append((labels, value))
        for family in FAMILIES:
            kind = "unknown" if family.name.startswith("nv_") else family.kind
            metric = Metric(family.name, family.help, kind)
            for labels, value in samples[family.name]:
                named = dict(zip(family.labels, labels, strict=True))
                metric.add_sample(family.exposed, named, value)
            if samples[family.name]:
                yield metric

    def _samples(self) -> Iterator[Sample]:
        gpus = self._gpu.read()
        for name, line in self._lines.items():
            yield from _queue(name, line)
            for counts in tuple(line.dispatcher.tally.counts.values()):
                yield from _release(name, counts)
            yield from _stages(name, tuple(line.dispatcher.tally.counts.values()))
            yield from _processes(name, workers_by_role(line), gpus)
        for role, pid in (("front", os.getpid()), ("zygote", self._zygote_pid())):
            memory = proportional_bytes(pid) if pid is not None else None
            if memory is not None:
                yield "sightloop_memory_bytes", ("", role), memory
        for use in gpus:
            label = (str(use.gpu),)
            yield "sightloop_gpu_memory_used_bytes", label, use.used_bytes
            yield "sightloop_gpu_memory_total_bytes", label, use.total_bytes
            yield "sightloop_gpu_busy_ratio", label, use.busy_fraction


def workers_by_role(line: ServedLine) -> dict[str, list[Worker]]:
    """The living workers of a line by what they are for."""
    table, candidate = line.slot.table, line.candidate
    roles: dict[str, list[Worker]] = {}
    for worker in tuple(line.workers):
        role = table.role_of(worker)
        if role is None:
            idle = worker.pid == line.standby.pid
            role = "candidate" if worker is candidate else "standby" if idle else "retired"
        roles.setdefault(role, []).append(worker)
    return roles


def _queue(name: str, line: ServedLine) -> Iterator[Sample]:
    yield "sightloop_requests_waiting", (name,), line.dispatcher.waiting
    yield "sightloop_requests_running", (name,), line.dispatcher.running
    candidate = line.candidate
    if candidate is not None and candidate.state is not None:
        yield "sightloop_update_state", (name, candidate.state.value), 1


def _release(name: str, counts: ReleaseCounts) -> Iterator[Sample]:
    release = counts.release
    yield "sightloop_answers", (name, release.semver, release.digest[:12]), counts.answers
    triton = {
        "request_success": counts.answers,
        "request_failure": counts.failures,
        "count": counts.answers,
        "exec_count": round(counts.runs),
        "request_duration_us": counts.total_s * 1e6,
        "queue_duration_us": counts.queue_s * 1e6,
        "compute_input_duration_us": (counts.decode_s + counts.preprocess_s) * 1e6,
        "compute_infer_duration_us": counts.inference_s * 1e6,
        "compute_output_duration_us": counts.postprocess_s * 1e6,
    }
    for short, value in triton.items():
        yield f"nv_inference_{short}", (name, release.semver), value


def _stages(name: str, releases: tuple[ReleaseCounts, ...]) -> Iterator[Sample]:
    totals: dict[str, float] = {}
    for counts in releases:
        for stage, seconds in counts.stages().items():
            totals[stage] = totals.get(stage, 0.0) + seconds
    for stage, seconds in totals.items():
        yield "sightloop_stage_seconds", (name, stage), seconds


def _processes(
    name: str, roles: Mapping[str, list[Worker]], gpus: tuple[GpuUse, ...]
) -> Iterator[Sample]:
    for role, workers in roles.items():
        states: dict[str, int] = {}
        memory = gpu_memory = 0
        for worker in workers:
            state = worker.state.value if worker.state is not None else "STANDBY"
            states[state] = states.get(state, 0) + 1
            memory += proportional_bytes(worker.pid) or 0
            gpu_memory += sum(use.by_pid.get(worker.pid, 0) for use in gpus)
        for state, count in states.items():
            yield "sightloop_workers", (name, role, state), count
        yield "sightloop_memory_bytes", (name, role), memory
        if gpus:
            yield "sightloop_worker_gpu_memory_bytes", (name, role), gpu_memory
