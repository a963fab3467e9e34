from __future__ import annotations

import contextlib
import struct
import zlib

import cv2
import numpy as np
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sightloop.errors import ImageError
from sightloop.vision.decode import DecodeLimits, decode_image, encode_jpeg, encode_png

_PNG_MARK = b"\x89PNG\r\n\x1a\n"


def _frame(height: int = 40, width: int = 61) -> NDArray[np.uint8]:
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    frame: NDArray[np.uint8] = cv2.GaussianBlur(noise, (0, 0), 2)
    return frame


def _opencv_file(extension: str, image: NDArray[np.generic], *options: int) -> bytes:
    _, encoded = cv2.imencode(extension, image, list(options))
    data: bytes = encoded.tobytes()
    return data


def _opencv_pixels(data: bytes) -> NDArray[np.uint8]:
    """What Ultralytics trains on."""
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    pixels: NDArray[np.uint8] = cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)
    return pixels


def _png_chunk(kind: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


def _png(width: int, height: int, stream: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", stream), (b"IEND", b"")]
    return _PNG_MARK + b"".join(_png_chunk(kind, content) for kind, content in chunks)


def _jpeg_saying(width: int, height: int) -> bytes:
    """A small JPEG whose frame header states another size."""
    data = bytearray(encode_jpeg(_frame()))
    start = data.index(b"\xff\xc0")
    data[start + 5 : start + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def _bmp_saying(width: int, height: int) -> bytes:
    data = bytearray(_opencv_file(".bmp", _frame()))
    data[18:26] = struct.pack("<ii", width, height)
    return bytes(data)


def _reason(data: bytes, limits: DecodeLimits | None = None) -> str:
    with pytest.raises(ImageError) as caught:
        decode_image(data, limits=limits or DecodeLimits())
    return caught.value.reason


@pytest.fixture
def no_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail the test if anything is decoded."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("decoded before it was refused")

    monkeypatch.setattr(cv2, "imdecode", refuse)
    monkeypatch.setattr(simplejpeg, "decode_jpeg", refuse)


@pytest.mark.parametrize("extension", [".png", ".bmp"])
def test_lossless_formats_give_the_pixels_back_as_rgb(extension: str) -> None:
    frame = _frame()
    decoded = decode_image(_opencv_file(extension, frame[..., ::-1]))
    assert np.array_equal(decoded, frame)
    assert decoded.flags.c_contiguous


def test_encoded_png_decodes_to_itself() -> None:
    assert np.array_equal(decode_image(encode_png(_frame())), _frame())


@pytest.mark.parametrize("subsampling", ["444", "422", "420", "Gray"])
def test_jpeg_pixels_are_those_of_opencv(subsampling: str) -> None:
    data = simplejpeg.encode_jpeg(_frame(), quality=85, colorsubsampling=subsampling)
    assert np.array_equal(decode_image(data), _opencv_pixels(data))


def test_progressive_jpeg_is_read() -> None:
    data = _opencv_file(".jpg", _frame(), cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    assert np.array_equal(decode_image(data), _opencv_pixels(data))


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_png_of_any_depth_becomes_three_channels_of_eight_bits(
    channels: int, dtype: type[np.generic]
) -> None:
    factor = 257 if dtype is np.uint16 else 1
    grey = _frame()[..., :1]
    image = np.repeat(grey.astype(dtype) * np.array(factor, dtype), channels, axis=2)
    decoded = decode_image(_opencv_file(".png", image))
    assert decoded.dtype == np.uint8
    assert np.array_equal(decoded, np.repeat(grey, 3, axis=2))


@pytest.mark.parametrize("orientation", range(10))
@pytest.mark.parametrize("order", ["II", "MM"])
def test_exif_orientation_is_applied_like_opencv(order: str, orientation: int) -> None:
    sign = "<" if order == "II" else ">"
    entry = struct.pack(sign + "HHIHH", 0x112, 3, 1, orientation, 0)
    tiff = order.encode() + struct.pack(sign + "HIH", 42, 8, 1) + entry + bytes(4)
    block = b"Exif\0\0" + tiff
    plain = encode_jpeg(_frame())
    data = plain[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + plain[2:]
    assert np.array_equal(decode_image(data), _opencv_pixels(data))


def test_no_bytes_are_refused_as_empty() -> None:
    assert _reason(b"") == "image_empty"


@pytest.mark.parametrize(
    "data", [b"hello", b"GIF89a" + bytes(40), b"RIFF....WEBPVP8 ", b"%PDF-1.7", b"\0" * 100]
)
def test_other_bytes_are_refused_as_undecodable(data: bytes) -> None:
    assert _reason(data) == "image_undecodable"


def test_form_is_refused_with_what_to_do() -> None:
    with pytest.raises(ImageError, match="--data-binary"):
        decode_image(b'--boundary\r\nContent-Disposition: form-data; name="image"\r\n\r\n')


@pytest.mark.usefixtures("no_decoder")
def test_too_many_bytes_are_refused_unread() -> None:
    assert _reason(bytes(101), DecodeLimits(bytes_max=100)) == "image_too_large"


@pytest.mark.usefixtures("no_decoder")
@pytest.mark.parametrize(
    "data",
    [
        _jpeg_saying(30000, 30000),
        _png(30000, 30000, zlib.compress(bytes(1000))),
        _bmp_saying(30000, -30000),
        _png(1, 2**31 - 1, b""),
    ],
    ids=["jpeg", "png", "bmp", "thin png"],
)
def test_bomb_is_refused_from_its_header(data: bytes) -> None:
    assert _reason(data) == "image_too_large"


@pytest.mark.parametrize("data", [_jpeg_saying(0, 40), _png(0, 5, b""), _bmp_saying(0, 3)])
def test_image_without_pixels_is_undecodable(data: bytes) -> None:
    assert _reason(data) == "image_undecodable"


@pytest.mark.parametrize(
    "data",
    [
        encode_jpeg(_frame()),
        _opencv_file(".jpg", _frame(), cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
        encode_png(_frame()),
        _opencv_file(".bmp", _frame()),
    ],
    ids=["jpeg", "progressive", "png", "bmp"],
)
def test_image_cut_anywhere_is_refused(data: bytes) -> None:
    lengths = [*range(2, 60), *range(60, len(data), 37), *range(len(data) - 20, len(data))]
    reasons = {length: _reason(data[:length]) for length in lengths}
    assert {reasons[length] for length in lengths if length > len(data) // 2} == {"image_truncated"}
    assert set(reasons.values()) <= {"image_truncated", "image_undecodable"}


def test_png_with_half_its_pixel_stream_is_refused() -> None:
    rows = b"".join(b"\0" + row.tobytes() for row in _frame())
    stream = zlib.compress(rows)
    assert decode_image(_png(61, 40, stream)).shape == (40, 61, 3)
    assert _reason(_png(61, 40, stream[: len(stream) // 2])) == "image_undecodable"


def test_png_with_a_changed_byte_is_refused() -> None:
    data = bytearray(encode_png(_frame()))
    data[len(data) // 2] ^= 1
    assert _reason(bytes(data)) == "image_undecodable"


@given(seed=st.integers(0, 10_000), kind=st.sampled_from(["jpeg", "png", "bmp"]))
def test_damaged_bytes_give_a_frame_or_an_image_error(seed: int, kind: str) -> None:
    frame = _frame(16, 24)
    data = bytearray(
        {
            "jpeg": encode_jpeg(frame),
            "png": encode_png(frame),
            "bmp": _opencv_file(".bmp", frame),
        }[kind]
    )
    rng = np.random.default_rng(seed)
    for position in rng.integers(0, len(data), rng.integers(1, 6)):
        data[position] = int(rng.integers(256))
    with contextlib.suppress(ImageError):
        decoded = decode_image(bytes(data), limits=DecodeLimits(pixels_max=1_000_000))
        assert decoded.dtype == np.uint8
        assert decoded.ndim == 3
        assert decoded.shape[2] == 3
