"""What differs between two releases, as their manifests say it. Pure; nothing is measured here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from sightloop.release.manifest import MODEL_NAME, Manifest

Value = str | int | float | bool | None

DATA: Final = "data"
SETTINGS: Final = "settings"
CODE: Final = "code and toolchain"
OPERATION: Final = "operation"
METRICS: Final = "metrics"


@dataclass(frozen=True, slots=True)
class Difference:
    """One fact that differs.

    Attributes:
        part: `data`, `settings`, `code and toolchain`, `operation` or `metrics`.
        name: Which fact.
        before: Of the first release; None where it states none.
        after: Of the second.
    """

    part: str
    name: str
    before: Value
    after: Value

    @property
    def change(self) -> float | None:
        """How much a figure of `metrics` rose; None where one of the two is unknown."""
        numbers = (self.before, self.after)
        if self.part != METRICS or not all(_is_number(number) for number in numbers):
            return None
        return float(self.after or 0.0) - float(self.before or 0.0)


def differences(before: Manifest, after: Manifest) -> tuple[Difference, ...]:
    """Everything in which two releases differ, part by part; equal facts are left out."""
    facts = (
        (DATA, _data_of),
        (SETTINGS, _settings_of),
        (CODE, _code_of),
        (OPERATION, _operation_of),
        (METRICS, _metrics_of),
    )
    return tuple(
        difference
        for part, facts_of in facts
        for difference in _compare(part, facts_of(before), facts_of(after))
    )


def _is_number(value: Value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _compare(
    part: str, before: Mapping[str, Value], after: Mapping[str, Value]
) -> Iterator[Difference]:
    names = [*before, *(name for name in after if name not in before)]
    for name in names:
        if (old := before.get(name)) != (new := after.get(name)):
            yield Difference(part, name, old, new)


def _data_of(manifest: Manifest) -> dict[str, Value]:
    return {
        "dataset version": manifest.lineage.dataset_version,
        "classes": ", ".join(manifest.classes),
        "calibration frames": len(manifest.calibration.frames),
        "expected from": manifest.calibration.expected_from,
    }


def _settings_of(manifest: Manifest) -> dict[str, Value]:
    return dict(manifest.lineage.hyperparameters)


def _code_of(manifest: Manifest) -> dict[str, Value]:
    lineage = manifest.lineage
    facts: dict[str, Value] = {
        "code version": lineage.git_commit,
        "parent release": lineage.parent,
        "checkpoint": lineage.checkpoint_sha256,
        "network": manifest.files[MODEL_NAME].sha256,
        "weights": manifest.weights.origin,
        "licence": manifest.weights.license,
    }
    return facts | dict(lineage.toolchain)


def _operation_of(manifest: Manifest) -> dict[str, Value]:
    facts: dict[str, Value] = {
        "input, px": manifest.preprocess.side_px,
        "output layout": manifest.output.layout,
        "output shape": " x ".join(map(str, manifest.output.shape)),
        "score threshold": manifest.thresholds.score,
        "IoU threshold": manifest.output.iou_threshold,
    }
    tolerances = manifest.calibration.tolerances.model_dump()
    return facts | {f"tolerance {name}": value for name, value in tolerances.items()}


def _metrics_of(manifest: Manifest) -> dict[str, Value]:
    metrics, latency = manifest.metrics, manifest.latency
    facts: dict[str, Value] = {
        "mAP50": metrics.map50,
        "mAP50-95": metrics.map50_95,
        **{f"AP50 of {name}": value for name, value in metrics.per_class_ap50.items()},
        **{f"AP50 in slice {name}": value for name, value in metrics.per_slice_ap50.items()},
    }
    facts["CPU ms a frame, median"] = latency.cpu_ms_p50 if latency else None
    facts["measured on"] = latency.hardware if latency else None
    return facts
