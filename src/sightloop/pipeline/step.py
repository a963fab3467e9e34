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
OutsideKind = Literal["folder", "file", "dataset"]


@dataclass(frozen=True, slots=True)
class Output:
    """One thing a step makes, passed on by path alone.

    Attributes:
        name: Unique among the step's outputs.
        kind: A folder or one file.
        suffix: Ending of a file's name on disk, such as `.json`, for people who look.
    """

    name: str
    kind: Kind
    suffix: str = ""

    @property
    def file_name(self) -> str:
        """Name of the output inside its step's folder."""
        return self.name + self.suffix


@dataclass(frozen=True, slots=True)
class Input:
    """One thing a step reads: output `output` of step `step`."""

    name: str
    step: str
    output: str


@dataclass(frozen=True, slots=True)
class OutsideFile:
    """Something outside the workspace that a step reads and never writes.

    Attributes:
        path: Where it lies; not part of the cache key, its content is.
        kind: A file, a folder, or a `dataset`: a data.yaml, a COCO file or a folder of either, with
            every image and label it names.
    """

    path: str
    kind: OutsideKind


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a pipeline.

    Attributes:
        name: Unique in the graph; also the command: `sightloop pipeline step NAME`.
        module: Module with `run(context)`, whose code digest (with what it imports of its
            package) is part of the cache key.
        inputs: What it reads of earlier steps.
        outputs: What it makes.
        parameters: Values that change what it makes; part of the cache key.
        cacheable: False for a step with side effects: it is never served from cache.
        files: What it reads from outside, by name: the content is part of the key.
        code: More modules whose code counts, such as one that the step runs as a process.
    """

    name: str
    module: str
    inputs: tuple[Input, ...] = ()
    outputs: tuple[Output, ...] = ()
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    cacheable: bool = True
    files: Mapping[str, OutsideFile] = field(default_factory=dict)
    code: tuple[str, ...] = ()
