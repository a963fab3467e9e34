"""What a gate says: an outcome with its reason and measurements, never a bool."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Outcome(StrEnum):
    """The four answers of a gate."""

    PASS = "PASS"
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"
    ERROR = "ERROR"


Measurement = float | int | str | bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """One gate's answer on one candidate.

    Attributes:
        gate: `integrity`, `load`, `behaviour`, `latency`, ...
        outcome: PASS, FAIL, INCONCLUSIVE (too little evidence) or ERROR (could not run).
        reason: Stable snake_case word, `ok` on PASS.
        message: What was expected and found, for the operator.
        measurements: Figures with the unit in the name, and the bounds they were held against.
    """

    gate: str
    outcome: Outcome
    reason: str
    message: str
    measurements: Mapping[str, Measurement] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether the candidate may go on."""
        return self.outcome is Outcome.PASS

    def as_dict(self) -> dict[str, object]:
        """The verdict as plain JSON values."""
        return {
            "gate": self.gate,
            "outcome": self.outcome.value,
            "reason": self.reason,
            "message": self.message,
            "measurements": dict(self.measurements),
        }


def verdict_from_dict(value: Mapping[str, object]) -> Verdict:
    """The inverse of `Verdict.as_dict`."""
    measurements = value.get("measurements", {})
    assert isinstance(measurements, Mapping)
    return Verdict(
        gate=str(value["gate"]),
        outcome=Outcome(str(value["outcome"])),
        reason=str(value["reason"]),
        message=str(value["message"]),
        measurements=dict(measurements),
    )
