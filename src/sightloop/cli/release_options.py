"""Options that the commands of `sightloop release` share, and their progress bar."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

Workspace = Annotated[Path, typer.Option(help="Folder of everything local.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Trust = Annotated[
    list[Path] | None, typer.Option(help="Public key to trust beside the workspace's.")
]
WORKSPACE = Path(".sightloop")


class SplitName(StrEnum):
    """Parts of a dataset."""

    TRAIN = "train"
    VAL = "val"
    TEST = "test"


@contextlib.contextmanager
def progress_bar(title: str) -> Iterator[Callable[[float, str], None]]:
    """A bar on standard error; plain standard output stays for the result."""
    from rich.console import Console
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    with Bar(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=1.0)

        def report(fraction: float, text: str) -> None:
            bar.update(task, completed=fraction, description=f"{title}: {text}")

        yield report
