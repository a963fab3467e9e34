"""Tensors as the protocol carries them: datatypes, raw bytes, JSON values.

Raw form: row-major, little-endian, no padding; a BYTES element is a u32 length and its bytes.
Invariant: a `Tensor` that exists has as many elements as its shape says. Sizes are checked before
anything of that size is made.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sightloop.errors import ProtocolError

_LENGTH: Final = struct.Struct("<I")
_SIDE_MAX: Final = 1 << 31
_RANK_MAX: Final = 16


class Datatype(StrEnum):
    """What an element is, in the protocol's words."""

    BOOL = "BOOL"
    UINT8 = "UINT8"
    UINT16 = "UINT16"
    UINT32 = "UINT32"
    UINT64 = "UINT64"
    INT8 = "INT8"
    INT16 = "INT16"
    INT32 = "INT32"
    INT64 = "INT64"
    FP16 = "FP16"
    FP32 = "FP32"
    FP64 = "FP64"
    BYTES = "BYTES"


DTYPES: Final[dict[Datatype, np.dtype[Any]]] = {
    Datatype.BOOL: np.dtype("?"),
    Datatype.UINT8: np.dtype("u1"),
    Datatype.UINT16: np.dtype("<u2"),
    Datatype.UINT32: np.dtype("<u4"),
    Datatype.UINT64: np.dtype("<u8"),
    Datatype.INT8: np.dtype("i1"),
    Datatype.INT16: np.dtype("<i2"),
    Datatype.INT32: np.dtype("<i4"),
    Datatype.INT64: np.dtype("<i8"),
    Datatype.FP16: np.dtype("<f2"),
    Datatype.FP32: np.dtype("<f4"),
    Datatype.FP64: np.dtype("<f8"),
}
"""Of fixed size; BYTES has none."""


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """One named tensor.

    Attributes:
        shape: Sizes; their product is the number of elements.
        values: An array of `shape`, or for BYTES the elements, row-major.
        from_json: Whether the elements came as JSON; a BYTES element was a text then.
    """

    name: str
    datatype: Datatype
    shape: tuple[int, ...]
    values: NDArray[Any] | tuple[bytes, ...]
    from_json: bool = False

    @property
    def array(self) -> NDArray[Any]:
        """The array of a tensor that is not BYTES."""
        assert isinstance(self.values, np.ndarray), "BYTES has elements, not an array"
        return self.values

    @property
    def elements(self) -> tuple[bytes, ...]:
        """The elements of a BYTES tensor."""
        assert isinstance(self.values, tuple), "only BYTES has elements"
        return self.values


def array_tensor(name: str, array: NDArray[Any]) -> Tensor:
    """A tensor of an array whose dtype the protocol knows."""
    datatype = next(kind for kind, dtype in DTYPES.items() if dtype == array.dtype)
    return Tensor(name, datatype, array.shape, array)


def bytes_tensor(name: str, elements: Sequence[bytes]) -> Tensor:
    """A BYTES tensor of one dimension."""
    return Tensor(name, Datatype.BYTES, (len(elements),), tuple(elements))


def read_datatype(value: object, name: str) -> Datatype:
    """The datatype of this word.

    Raises:
        ProtocolError: Not one of ours (`tensor_invalid`).
    """
    try:
        return Datatype(value)  # type: ignore[arg-type]  # any other value raises
    except ValueError:
        raise _invalid(
            name, f"datatype: expected one of {', '.join(Datatype)}, found {_shown(value)}"
        ) from None


def read_shape(value: object, name: str) -> tuple[int, ...]:
    """A shape: a list of sizes that are not negative.

    Raises:
        ProtocolError: Something else (`tensor_invalid`).
    """
    if not isinstance(value, list) or len(value) > _RANK_MAX or not all(map(_is_size, value)):
        raise _invalid(
            name, f"shape: expected a list of at most {_RANK_MAX} sizes, found {_shown(value)}"
        )
    return tuple(value)


def from_raw(
    name: str, datatype: Datatype, shape: tuple[int, ...], data: bytes | memoryview
) -> Tensor:
    """Read a tensor from its raw bytes; the array shares them where they are aligned.

    Raises:
        ProtocolError: More or fewer bytes than datatype and shape ask (`tensor_invalid`).
    """
    count = math.prod(shape)
    if datatype is Datatype.BYTES:
        return Tensor(name, datatype, shape, _split_elements(name, count, data))
    dtype = DTYPES[datatype]
    if len(data) != count * dtype.itemsize:
        raise _invalid(
            name,
            f"expected {count * dtype.itemsize} bytes for {datatype} {list(shape)}, "
            f"found {len(data)}",
        )
    array = np.frombuffer(data, dtype).reshape(shape)
    if datatype is Datatype.BOOL:
        array = array.view(np.uint8) != 0  # any other byte than 0 and 1 is no bool of numpy's
    return Tensor(name, datatype, shape, np.require(array, requirements=["C", "A"]))


def to_raw(tensor: Tensor) -> bytes:
    """A tensor's raw bytes."""
    if tensor.datatype is Datatype.BYTES:
        return b"".join(_LENGTH.pack(len(element)) + element for element in tensor.elements)
    return np.ascontiguousarray(tensor.array, DTYPES[tensor.datatype]).tobytes()


def from_json(name: str, datatype: Datatype, shape: tuple[int, ...], data: object) -> Tensor:
    """Read a tensor from JSON values, flat or nested, row-major.

    Raises:
        ProtocolError: Not a list, too many or few elements, or one of another kind than
            `datatype` (`tensor_invalid`).
    """
    if not isinstance(data, list):
        raise _invalid(name, f"data: expected a list, found {_shown(data)}")
    count = math.prod(shape)
    if datatype is Datatype.BYTES:
        texts = _flat_texts(name, data, count)
        return Tensor(name, datatype, shape, texts, from_json=True)
    if datatype is Datatype.FP16:
        raise _invalid(name, "FP16: expected raw bytes, found JSON, which has no such number")
    found = _numbers(name, data)
    if found.size != count:
        raise _invalid(name, f"data: expected {count} elements, found {found.size}")
    values = _cast(name, datatype, found).reshape(shape)
    return Tensor(name, datatype, shape, values, from_json=True)


def to_json(tensor: Tensor) -> list[Any]:
    """A tensor's elements as JSON values, flat and row-major.

    Raises:
        ProtocolError: A number or text that JSON cannot hold (`output_not_json`).
    """
    try:
        if tensor.datatype is Datatype.BYTES:
            return [element.decode() for element in tensor.elements]
    except UnicodeDecodeError:
        raise _not_json(tensor.name, "bytes that are no text") from None
    array = tensor.array
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise _not_json(tensor.name, "a number that is not finite")
    values: list[Any] = array.ravel().tolist()
    return values


def _not_json(name: str, found: str) -> ProtocolError:
    return ProtocolError(
        f"output {name}: expected values that JSON can hold, found {found}; ask for it binary "
        "(parameter binary_data)",
        "output_not_json",
    )


def _is_size(value: object) -> bool:
    return type(value) is int and 0 <= value < _SIDE_MAX


def _split_elements(name: str, count: int, data: bytes | memoryview) -> tuple[bytes, ...]:
    elements: list[bytes] = []
    position, end = 0, len(data)
    while position + _LENGTH.size <= end and len(elements) < count:
        (length,) = _LENGTH.unpack_from(data, position)
        position += _LENGTH.size
        if length > end - position:
            raise _invalid(
                name,
                f"element {len(elements)}: expected {length} bytes, found {end - position}",
            )
        elements.append(bytes(data[position : position + length]))
        position += length
    if len(elements) != count or position != end:
        raise _invalid(
            name,
            f"expected {count} elements, each a 4-byte length and its bytes, found "
            f"{len(elements)} and {end - position} bytes behind",
        )
    return tuple(elements)


def _flat_texts(name: str, data: list[Any], count: int) -> tuple[bytes, ...]:
    flat: list[bytes] = []
    waiting: list[Any] = [iter(data)]
    while waiting:
        value = next(waiting[-1], None)
        if value is None:
            waiting.pop()
        elif isinstance(value, list) and len(waiting) < _RANK_MAX:
            waiting.append(iter(value))
        elif isinstance(value, str):
            flat.append(value.encode(errors="surrogatepass"))
        else:
            raise _invalid(name, f"data: expected texts, found {_shown(value)}")
    if len(flat) != count:
        raise _invalid(name, f"data: expected {count} elements, found {len(flat)}")
    return tuple(flat)


def _numbers(name: str, data: list[Any]) -> NDArray[Any]:
    try:
        return np.array(data)
    except (ValueError, OverflowError, RecursionError):
        raise _invalid(name, "data: expected numbers, nested evenly, found others") from None


def _cast(name: str, datatype: Datatype, found: NDArray[Any]) -> NDArray[Any]:
    """Numbers of JSON as an array of this datatype; nothing is rounded or wrapped but floats."""
    dtype = DTYPES[datatype]
    if found.size == 0:
        return np.zeros(0, dtype)
    allowed = {"b": "b", "f": "iuf"}.get(dtype.kind, "iu")
    if found.dtype.kind not in allowed:
        raise _invalid(name, f"data: expected {datatype}, found {found.dtype} values")
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        if int(found.min()) < limits.min or int(found.max()) > limits.max:
            raise _invalid(
                name, f"data: expected {datatype}, found values from {found.min()} to {found.max()}"
            )
    with np.errstate(over="ignore"):
        values = found.astype(dtype)
    if dtype.kind == "f" and not np.isfinite(values).all():
        raise _invalid(name, f"data: expected {datatype}, found a number beyond its range")
    return values


def _invalid(name: str, text: str) -> ProtocolError:
    return ProtocolError(f"tensor {_shown(name)}: {text}", "tensor_invalid")


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"
