"""The declaration of a step: plain data that every engine reads.

A step is an engine-free command: files in, files out, parameters as plain values. Engines
(inline here, Dagster and Kubeflow elsewhere) read this declaration and never the code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Parameter = str | int | float | bool | None
Kind = Literal["folder", "file"]


@dataclass(frozen=True, slots=True)
class Output:
    """One thing a step makes, passed on by path alone."""

    name: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Input:
    """One thing a step reads: output `output` of step `step`."""

    name: str
    step: str
    output: str


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a pipeline.

    Attributes:
        name: Unique in the graph; also the command: `sightloop pipeline step NAME`.
        module: Module with `run(context)`, whose code digest (with what it imports of this
            package) is part of the cache key.
        inputs: What it reads of earlier steps.
        outputs: What it makes.
        parameters: Values that change what it makes; part of the cache key.
        cacheable: False for a step with side effects: it is never served from cache.
        files: Outside files and folders it reads, by name: their content is part of the key.
    """

    name: str
    module: str
    inputs: tuple[Input, ...] = ()
    outputs: tuple[Output, ...] = ()
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    cacheable: bool = True
    files: Mapping[str, str] = field(default_factory=dict)
