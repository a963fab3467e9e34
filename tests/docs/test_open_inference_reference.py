"""docs/reference/open-inference.md says every call, extension, tensor and datatype."""

from __future__ import annotations

import asyncio
from pathlib import Path

from sightloop.protocol.model import DETECTIONS, FRAME_INPUT, IMAGE_INPUT
from sightloop.protocol.requests import QUICK_BYTES_MAX, QUICK_VALUES_MAX
from sightloop.protocol.tensors import Datatype
from sightloop.serving.grpc_server import ADMIN_CALLS, CALLS, OPEN_CALLS, STREAM
from sightloop.serving.grpc_server import code_of as code_of_status
from sightloop.serving.in_order import AHEAD_MAX
from sightloop.serving.open_inference import EXTENSIONS
from sightloop.serving.open_inference_rest import build_open_inference_rest
from sightloop.serving.request_rest import BodyLimits
from sightloop.testing.markdown import code_of, rows_of, sections_of
from sightloop.testing.scripted_door import door_of
from sightloop.testing.scripted_line import scripted_line
from sightloop.testing.scripted_plane import plane_of

PAGE = (Path(__file__).resolve().parents[2] / "docs/reference/open-inference.md").read_text()
SECTIONS = {section.title: section.body for section in sections_of(PAGE)}


async def calls(folder: Path) -> set[str]:
    async with scripted_line(folder) as it:
        app = build_open_inference_rest(
            plane_of(it), keeper=door_of(), limits=BodyLimits(1 << 20), version="0"
        )
    paths = app.openapi()["paths"]
    return {f"{method.upper()} {path}" for path, found in paths.items() for method in found}


def test_every_call_stands_there_and_no_other(tmp_path: Path) -> None:
    stated = {code_of(row[0])[0] for row in rows_of(SECTIONS["Calls"])}
    assert stated == asyncio.run(calls(tmp_path))


def test_every_grpc_call_stands_there_and_no_other() -> None:
    stated = {name for row in rows_of(SECTIONS["gRPC"]) for name in code_of(row[0])}
    assert stated == {*OPEN_CALLS, *CALLS, *ADMIN_CALLS, STREAM}


def test_number_of_a_streams_requests_at_work_is_the_codes() -> None:
    assert AHEAD_MAX == 4
    assert "up to four are at work" in SECTIONS["gRPC"]


def test_every_status_stands_there_with_its_grpc_code() -> None:
    rows = [(int(row[0]), code_of(row[1])) for row in rows_of(SECTIONS["Errors"])]
    codes = {status: words[0] for status, words in rows if words and words[0].isupper()}
    assert set(codes) == {status for status, _ in rows}
    assert codes == {status: code_of_status(status).name for status in codes}


def test_every_extension_stands_there_and_no_other() -> None:
    sentence = SECTIONS["Extensions"].partition(": ")[2].partition(".\n")[0]
    assert tuple(code_of(sentence)) == EXTENSIONS


def test_tensors_stand_there_with_their_datatypes() -> None:
    stated = {
        (code_of(row[0])[0], code_of(row[1])[0])
        for row in rows_of(SECTIONS["Inputs and outputs"])
        if code_of(row[0])
    }
    specs = (IMAGE_INPUT, FRAME_INPUT, *DETECTIONS)
    assert stated == {(spec.name, spec.datatype.value) for spec in specs}
    words = code_of(SECTIONS["Inputs and outputs"].partition("Datatypes that are read:")[2])
    assert words[: len(Datatype)] == tuple(kind.value for kind in Datatype)


def test_size_from_which_the_worker_alone_reads_json_is_the_codes() -> None:
    section = SECTIONS["Parameters of a request"]
    assert f"{QUICK_BYTES_MAX >> 20} MiB" in section
    assert f"{QUICK_VALUES_MAX} values" in section
