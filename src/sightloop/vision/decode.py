"""Bytes to pixels, and back: JPEG, PNG and BMP, nothing else.

Invariant: an image is refused from its header before anything of its size is allocated, and an
image that is cut is refused, never filled up with grey. Training, evaluation, gates and server
all decode here, to the same pixels as Ultralytics' own reader. Nothing is scaled.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from sightloop.errors import ImageError
from sightloop.vision.exif import EXIF_MARK, UPRIGHT, read_orientation, turn_upright

_PNG_MARK = b"\x89PNG\r\n\x1a\n"
_PNG_HEADER_BYTES = 33
_JPEG_MARK = b"\xff\xd8"
_JPEG_END = b"\xff\xd9"
_BMP_HEADER_BYTES = 34
_BMP_UNCOMPRESSED = (0, 3)
_JPEG_TABLES = (0xC4, 0xC8, 0xCC)
_SIDE_MAX_PX = 1 << 20


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """What is refused unseen.

    Attributes:
        bytes_max: Size of the compressed image.
        pixels_max: Width times height, as the header states them.
    """

    bytes_max: int = 32 << 20
    pixels_max: int = 50_000_000


DEFAULT_LIMITS = DecodeLimits()


@dataclass(frozen=True, slots=True)
class _JpegHeader:
    width_px: int
    height_px: int
    orientation: int


def decode_image(data: bytes, *, limits: DecodeLimits = DEFAULT_LIMITS) -> NDArray[np.uint8]:
    """Decode one JPEG, PNG or BMP.

    A JPEG's Exif orientation is applied, alpha is dropped, 16 bits become 8, grey becomes RGB.

    Args:
        data: The file's bytes.
        limits: Sizes above which the image is refused before it is decoded.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ImageError: `image_empty`, `image_too_large`, `image_truncated` or `image_undecodable`.
    """
    if not data:
        raise ImageError("image: expected JPEG, PNG or BMP bytes, found none", "image_empty")
    if len(data) > limits.bytes_max:
        raise ImageError(
            f"image: expected at most {limits.bytes_max} bytes, found {len(data)}; "
            "send a smaller image",
            "image_too_large",
        )
    if data.startswith(_JPEG_MARK):
        return _decode_jpeg(data, limits)
    if data.startswith(_PNG_MARK):
        _check_png(data, limits)
    elif data.startswith(b"BM"):
        _check_bmp(data, limits)
    elif data.startswith(b"--"):
        raise _undecodable(
            "expected the bytes of a JPEG, PNG or BMP, found a form; send the file itself "
            "(curl --data-binary @FILE)"
        )
    else:
        raise _undecodable(f"expected JPEG, PNG or BMP, found bytes {data[:8].hex(' ')}")
    return _decode_with_opencv(data)


def encode_jpeg(frame: NDArray[np.uint8], *, quality: int = 90) -> bytes:
    """(H, W, 3) uint8 RGB as JPEG."""
    array = np.ascontiguousarray(frame)
    encoded: bytes = simplejpeg.encode_jpeg(array, quality=quality, colorspace="RGB")
    return encoded


def encode_png(frame: NDArray[np.uint8]) -> bytes:
    """(H, W, 3) uint8 RGB as PNG, without loss."""
    _, encoded = cv2.imencode(".png", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    data: bytes = encoded.tobytes()
    return data


def _undecodable(message: str) -> ImageError:
    return ImageError(f"image: {message}", "image_undecodable")


def _truncated(kind: str) -> ImageError:
    return ImageError(
        f"image: the {kind} ends before its data is complete; send the whole file",
        "image_truncated",
    )


def _check_size(width_px: int, height_px: int, limits: DecodeLimits) -> None:
    if width_px < 1 or height_px < 1:
        raise _undecodable(f"expected at least one pixel, found {width_px} x {height_px}")
    if width_px * height_px > limits.pixels_max or max(width_px, height_px) > _SIDE_MAX_PX:
        raise ImageError(
            f"image: expected at most {limits.pixels_max} pixels, found {width_px} x {height_px}; "
            "send a smaller image",
            "image_too_large",
        )


def _decode_jpeg(data: bytes, limits: DecodeLimits) -> NDArray[np.uint8]:
    header = _read_jpeg_header(data)
    _check_size(header.width_px, header.height_px, limits)
    try:
        frame: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, "RGB", strict=True)
    except ValueError as error:
        if "premature end" in str(error).lower() or not data.endswith(_JPEG_END):
            raise _truncated("JPEG") from error
        raise _undecodable(f"the JPEG is damaged: {error}") from error
    if header.orientation != UPRIGHT:
        return turn_upright(frame, header.orientation)
    return frame


def _read_jpeg_header(data: bytes) -> _JpegHeader:
    """Walk the segments up to the frame header (SOF)."""
    orientation: int | None = None
    position = len(_JPEG_MARK)
    while position + 4 <= len(data):
        if data[position] != 0xFF:
            raise _undecodable(f"expected a JPEG marker at byte {position}")
        marker = data[position + 1]
        if marker == 0xFF:
            position += 1
            continue
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        content = data[position + 4 : position + 2 + length]
        if 0xC0 <= marker <= 0xCF and marker not in _JPEG_TABLES:
            if len(content) < 5:
                break
            return _JpegHeader(
                height_px=int.from_bytes(content[1:3], "big"),
                width_px=int.from_bytes(content[3:5], "big"),
                orientation=UPRIGHT if orientation is None else orientation,
            )
        if length < 2 or 0xD0 <= marker <= 0xDA:
            raise _undecodable(f"expected a JPEG frame header before byte {position}")
        if marker == 0xE1 and orientation is None and content.startswith(EXIF_MARK):
            orientation = read_orientation(content)
        position += 2 + length
    raise _truncated("JPEG")


def _check_png(data: bytes, limits: DecodeLimits) -> None:
    if len(data) < _PNG_HEADER_BYTES:
        raise _truncated("PNG")
    if data[12:16] != b"IHDR":
        raise _undecodable("expected the PNG to begin with IHDR")
    width, height = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    _check_size(width, height, limits)
    position, view = len(_PNG_MARK), memoryview(data)
    while position + 12 <= len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        end = position + 12 + length
        if end > len(data):
            break
        if zlib.crc32(view[position + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            raise _undecodable(f"the PNG is damaged: wrong checksum of the chunk at {position}")
        if data[position + 4 : position + 8] == b"IEND":
            return
        position = end
    raise _truncated("PNG")


def _check_bmp(data: bytes, limits: DecodeLimits) -> None:
    if len(data) < _BMP_HEADER_BYTES:
        raise _truncated("BMP")
    if int.from_bytes(data[14:18], "little") < 40:
        raise _undecodable("expected a BMP with an info header of at least 40 bytes")
    start = int.from_bytes(data[10:14], "little")
    width = int.from_bytes(data[18:22], "little", signed=True)
    height = abs(int.from_bytes(data[22:26], "little", signed=True))
    bits = int.from_bytes(data[28:30], "little")
    _check_size(width, height, limits)
    if int.from_bytes(data[30:34], "little") not in _BMP_UNCOMPRESSED:
        raise _undecodable("expected an uncompressed BMP")
    row_bytes = (width * bits + 31) // 32 * 4
    if len(data) < start + row_bytes * height:
        raise _truncated("BMP")


def _decode_with_opencv(data: bytes) -> NDArray[np.uint8]:
    try:
        frame = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise _undecodable(f"OpenCV cannot read it: {error}") from error
    if frame is None:
        raise _undecodable("OpenCV cannot read it: the image is damaged or of an unknown kind")
    rgb: NDArray[np.uint8] = cv2.cvtColor(frame, cv2.COLOR_BGR2RGB, dst=frame)
    return rgb
