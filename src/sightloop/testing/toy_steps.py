"""A step without meaning, and graphs of it: for tests of caches and engines.

What a toy step writes follows from its inputs and its text alone. Each call leaves a line in the
workspace's `calls.txt`, so that a test can tell what really ran.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from sightloop.config.workspace import Workspace
from sightloop.errors import TrainerError
from sightloop.pipeline.context import StepContext
from sightloop.pipeline.step import Input, Output, OutsideFile, Step

PARTS = 3


def run(context: StepContext) -> None:
    """Write `parts` files that follow from all that is read, and note the call."""
    name = context.text("name")
    with open(_calls(context.workspace), "a", encoding="utf-8") as stream:
        stream.write(name + "\n")
    match context.optional_text("fail"):
        case "ours":
            raise TrainerError("told to fail")
        case "other":
            raise ZeroDivisionError("told to fail")
        case "interrupt":
            raise KeyboardInterrupt
    digest = hashlib.sha256(context.text("text").encode())
    for _, path in sorted((*context.inputs.items(), *context.files.items())):
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            digest.update(file.read_bytes())
    for part in range(PARTS):
        context.report(part / PARTS, f"part {part}")
        (context.outputs["out"] / f"{part}.txt").write_text(f"{part} {digest.hexdigest()}\n")


def toy_step(
    name: str,
    *,
    reads: Sequence[str] = (),
    text: str = "",
    fail: str | None = None,
    cacheable: bool = True,
    files: Mapping[str, Path] | None = None,
) -> Step:
    """A toy step that reads the output `out` of the steps in `reads`."""
    return Step(
        name=name,
        module="sightloop.testing.toy_steps",
        inputs=tuple(Input(other, other, "out") for other in reads),
        outputs=(Output("out", "folder"),),
        parameters={"name": name, "text": text, "fail": fail},
        cacheable=cacheable,
        files={key: OutsideFile(str(path), "file") for key, path in (files or {}).items()},
    )


def toy_chain(*texts: str) -> tuple[Step, ...]:
    """Steps `a`, `b`, ... with these texts, each reading the one before."""
    names = [chr(ord("a") + index) for index in range(len(texts))]
    return tuple(
        toy_step(name, reads=names[index - 1 : index] if index else (), text=text)
        for index, (name, text) in enumerate(zip(names, texts, strict=True))
    )


def calls(workspace: Workspace) -> list[str]:
    """Names of the toy steps that ran, in order, over all runs of the workspace."""
    path = _calls(workspace)
    return path.read_text().split() if path.exists() else []


def _calls(workspace: Workspace) -> Path:
    return workspace.root / "calls.txt"
