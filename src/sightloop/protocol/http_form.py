"""The binary extension's HTTP form: where the JSON of a body ends and its tensors begin."""

from __future__ import annotations

import json
from typing import Final

from sightloop.errors import ProtocolError
from sightloop.protocol.model import IMAGE_INPUT
from sightloop.protocol.requests import ALL_BINARY, BINARY_SIZE
from sightloop.protocol.tensors import bytes_tensor, to_raw

HEADER: Final = "Inference-Header-Content-Length"


def split_body(body: bytes, header: str | None) -> tuple[bytes | memoryview, bytes | memoryview]:
    """JSON head and raw tensors of a request body.

    Args:
        body: The body, not compressed.
        header: Value of `Inference-Header-Content-Length`: None is all JSON, 0 is one image and
            nothing else, answered with raw tensors.

    Raises:
        ProtocolError: No length of this body.
    """
    if header is None:
        return body, b""
    text = header.strip()
    if not (text.isascii() and text.isdigit() and len(text) < 16) or int(text) > len(body):
        raise ProtocolError(
            f"header {HEADER}: expected 0 to {len(body)}, the bytes of JSON, found {text[:80]!r}"
        )
    if int(text) == 0:
        return _image_request(body)
    view = memoryview(body)
    return view[: int(text)], view[int(text) :]


def _image_request(image: bytes) -> tuple[bytes, bytes]:
    raw = to_raw(bytes_tensor(IMAGE_INPUT.name, [image]))
    head = {
        "parameters": {ALL_BINARY: True},
        "inputs": [
            {
                "name": IMAGE_INPUT.name,
                "datatype": IMAGE_INPUT.datatype.value,
                "shape": [1],
                "parameters": {BINARY_SIZE: len(raw)},
            }
        ],
    }
    return json.dumps(head).encode(), raw
