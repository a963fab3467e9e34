"""`sightloop`: the root of the command line, exit codes, and how errors are shown.

Exit codes: 0 done; 1 a fault of Sightloop itself; 2 usage, settings, a missing extra; 3 refused
(a gate's no, a bundle that does not verify); 4 unusable input (images, labels, datasets, networks);
5 a server unreachable or unable; 6 a pipeline, trainer or registry failed; 130 interrupted.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from sightloop._support.files import naming_full_disk
from sightloop.cli import (
    audit,
    bench,
    dataset,
    demo,
    detect,
    doctor,
    pipeline,
    release,
    rollout,
    serve,
    token,
)
from sightloop.errors import (
    BackendError,
    BundleError,
    ClientError,
    ConfigError,
    InputError,
    PipelineError,
    RefusedAtStartError,
    RegistryError,
    ReleaseRefusedError,
    ServingError,
    SightloopError,
)

EXIT_INTERRUPTED = 130
_EXIT_CODES: tuple[tuple[type[SightloopError], int], ...] = (
    (RefusedAtStartError, 3),
    (ReleaseRefusedError, 3),
    (BundleError, 3),
    (ConfigError, 2),
    (InputError, 4),
    (BackendError, 4),
    (ServingError, 5),
    (ClientError, 5),
    (PipelineError, 6),
    (RegistryError, 6),
)

app = typer.Typer(
    name="sightloop",
    help="Keeps object detectors in production current: train, prove, serve, replace live.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        import importlib.metadata

        typer.echo(f"sightloop {importlib.metadata.version('sightloop')}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Say the version and end.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Keeps object detectors in production current: train, prove, serve, replace live."""


app.command("demo")(demo.demo)
app.command("serve")(serve.serve)
app.command("detect")(detect.detect)
app.add_typer(rollout.app, name="rollout")
app.command("audit")(audit.audit)
app.add_typer(token.app, name="token")
app.add_typer(release.app, name="release")
app.add_typer(pipeline.app, name="pipeline")
app.add_typer(dataset.app, name="dataset")
app.command("doctor")(doctor.doctor)
app.command("bench")(bench.bench)


def exit_code_of(error: SightloopError) -> int:
    """The documented exit code of an error."""
    return next((code for kind, code in _EXIT_CODES if isinstance(error, kind)), 1)


def main() -> None:
    """Run the command line; never returns."""
    try:
        with naming_full_disk(Path.cwd()):
            app()
    except SightloopError as error:
        _show(error)
        sys.exit(exit_code_of(error))
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    except SystemExit as end:
        # The command-line library ends with 1 after ctrl-C; the shell's convention is 130.
        sys.exit(EXIT_INTERRUPTED if isinstance(end.__context__, typer.Abort) else end.code)


def _show(error: SightloopError) -> None:
    """One line for people on standard error; with --json also an object on standard output."""
    print(f"error: {error.message} [{error.reason}]", file=sys.stderr)
    if "--json" in sys.argv:
        print(json.dumps({"error": {"reason": error.reason, "message": error.message}}))
