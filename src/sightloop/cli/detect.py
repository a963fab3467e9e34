"""`sightloop detect`: boxes drawn on images, by a release or by a running server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sightloop.cli.access_options import CaFile, TokenFile, client_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from sightloop.client.http_client import Client

Answer = dict[str, Any]
_IMAGE_REFUSED = (400, 413)


def detect(
    image: Annotated[list[Path], typer.Argument(help="JPEG or PNG files.")],
    release: Annotated[
        str | None, typer.Option(help="Bundle's folder or LINE@SEMVER; asks --url otherwise.")
    ] = None,
    url: Annotated[str, typer.Option(help="The server to ask.")] = "http://127.0.0.1:8080",
    line: Annotated[str | None, typer.Option(help="Model line on that server.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the pictures.")] = Path("detections"),
    workspace: Annotated[Path, typer.Option(help="Folder of everything local.")] = Path(
        ".sightloop"
    ),
    trust: Annotated[
        list[Path] | None, typer.Option(help="Public key to trust besides the workspace's.")
    ] = None,
    token_file: TokenFile = None,
    ca_file: CaFile = None,
    json_: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Write each image with its detections drawn in, as PNG, into --out."""
    from sightloop._support.files import write_bytes_atomic
    from sightloop.errors import ImageError

    if release:
        ask = _ask_release(release, workspace, trust or [])
    else:
        ask = _ask_server(client_for(url, token_file, ca_file), line)
    for path in image:
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ImageError(
                f"image {path}: expected a readable file, found: {error.strerror}",
                "image_unreadable",
            ) from error
        answer = _named(path, ask, data)
        target = out / f"{path.stem}.png"
        write_bytes_atomic(target, _picture(data, answer))
        if json_:
            print(json.dumps({**answer, "image": str(path), "picture": str(target)}))
        else:
            found = ", ".join(f"{d['class']} {d['score']:.2f}" for d in answer["detections"])
            print(f"{path.name}: {found or 'nothing found'}  -> {target}")


def _named(path: Path, ask: Callable[[bytes], Answer], data: bytes) -> Answer:
    """The answer; what is wrong with an image, here or on the server, names its file."""
    from sightloop.errors import ImageError, ServerRefusedError

    try:
        return ask(data)
    except ImageError as error:
        raise ImageError(f"{path}: {error.message}", error.reason) from error
    except ServerRefusedError as error:
        if error.status not in _IMAGE_REFUSED:
            raise
        raise ImageError(f"{path}: {error.message}", error.reason) from error


def _ask_release(text: str, workspace: Path, trust: list[Path]) -> Callable[[bytes], Answer]:
    from sightloop.app.locate import locate_release
    from sightloop.config.workspace import Workspace
    from sightloop.release.bundle import verify_bundle
    from sightloop.release.signing import load_trust
    from sightloop.runtime.loaded_release import detections_as_json, load_release

    opened = Workspace(workspace)
    folder = locate_release(opened, text)
    bundle = verify_bundle(folder, load_trust(opened.keys, trust))
    loaded = load_release(folder, bundle.manifest, bundle.digest)

    def ask(data: bytes) -> Answer:
        answer = loaded.answer(data)
        return {
            "line": bundle.manifest.line,
            "release": {"semver": bundle.manifest.semver, "digest": bundle.digest},
            "detections": detections_as_json(answer.detections, loaded.classes),
        }

    return ask


def _ask_server(client: Client, line: str | None) -> Callable[[bytes], Answer]:
    return lambda data: client.detect(data, line=line)


def _picture(data: bytes, answer: Answer) -> bytes:
    import numpy as np

    from sightloop.vision.decode import decode_image, encode_png
    from sightloop.vision.detections import Detections
    from sightloop.vision.draw import draw_detections

    found = answer["detections"]
    names = {d["class_id"]: d["class"] for d in found}
    classes = tuple(names.get(index, "") for index in range(max(names, default=-1) + 1))
    detections = Detections(
        boxes=np.array([d["box"] for d in found], np.float32).reshape(-1, 4),
        scores=np.array([d["score"] for d in found], np.float32),
        classes=np.array([d["class_id"] for d in found], np.int64),
    )
    return encode_png(draw_detections(decode_image(data), detections, classes))
