from __future__ import annotations

import contextlib
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sightloop.errors import ProtocolError
from sightloop.protocol.tensors import (
    DTYPES,
    Datatype,
    Tensor,
    array_tensor,
    bytes_tensor,
    from_json,
    from_raw,
    read_datatype,
    read_shape,
    to_json,
    to_raw,
)

SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
ARRAYS = st.sampled_from(sorted(DTYPES)).flatmap(lambda kind: hnp.arrays(DTYPES[kind], SHAPES))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=12,
)


@given(ARRAYS)
def test_every_array_survives_its_raw_form_bit_by_bit(array: np.ndarray[Any, Any]) -> None:
    tensor = array_tensor("x", array)
    back = from_raw("x", tensor.datatype, tensor.shape, to_raw(tensor))
    assert back.shape == array.shape
    assert back.array.tobytes() == array.tobytes()
    assert back.array.dtype == array.dtype


@given(st.lists(st.binary(max_size=20), max_size=5))
def test_bytes_elements_survive_their_raw_form(elements: list[bytes]) -> None:
    tensor = bytes_tensor("x", elements)
    back = from_raw("x", Datatype.BYTES, tensor.shape, to_raw(tensor))
    assert list(back.elements) == elements


@given(ARRAYS.filter(lambda array: array.dtype != np.float16))
def test_finite_arrays_survive_json(array: np.ndarray[Any, Any]) -> None:
    tensor = array_tensor("x", array)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        with pytest.raises(ProtocolError, match="not finite"):
            to_json(tensor)
        return
    back = from_json("x", tensor.datatype, tensor.shape, to_json(tensor))
    assert np.array_equal(back.array, array)
    assert back.array.dtype == array.dtype


@given(st.sampled_from(sorted(Datatype)), SHAPES, JSON)
def test_any_json_is_a_tensor_or_refused_as_one(
    kind: Datatype, shape: tuple[int, ...], data: object
) -> None:
    with contextlib.suppress(ProtocolError):
        assert count_of(from_json("x", kind, shape, data)) == math.prod(shape)


@given(st.sampled_from(sorted(Datatype)), SHAPES, st.binary(max_size=64))
def test_any_bytes_are_a_tensor_or_refused_as_one(
    kind: Datatype, shape: tuple[int, ...], data: bytes
) -> None:
    with contextlib.suppress(ProtocolError):
        assert count_of(from_raw("x", kind, shape, data)) == math.prod(shape)


def count_of(tensor: Tensor) -> int:
    return len(tensor.elements) if tensor.datatype is Datatype.BYTES else tensor.array.size


@given(JSON)
def test_any_value_is_a_shape_or_refused_as_one(value: object) -> None:
    try:
        shape = read_shape(value, "x")
    except ProtocolError:
        return
    assert list(shape) == value
    assert all(size >= 0 for size in shape)


def test_nested_and_flat_json_say_the_same() -> None:
    flat = from_json("x", Datatype.FP32, (2, 2), [1, 2.5, 3, 4])
    nested = from_json("x", Datatype.FP32, (2, 2), [[1, 2.5], [3, 4]])
    assert np.array_equal(flat.array, nested.array)


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (Datatype.UINT8, [256]),
        (Datatype.UINT8, [-1]),
        (Datatype.UINT8, [1.5]),
        (Datatype.INT64, [1 << 63]),
        (Datatype.FP32, [1e300]),
        (Datatype.FP32, [True]),
        (Datatype.FP32, ["1"]),
        (Datatype.BOOL, [1]),
        (Datatype.FP16, [1.0]),
        (Datatype.BYTES, [1]),
        (Datatype.FP32, 1.0),
        (Datatype.FP32, [[1.0], [2.0, 3.0]]),
    ],
)
def test_value_of_another_kind_is_never_bent_into_the_datatype(kind: Datatype, data: Any) -> None:
    with pytest.raises(ProtocolError) as caught:
        from_json("x", kind, (1,), data)
    assert caught.value.reason == "tensor_invalid"


def test_claimed_size_beyond_the_bytes_is_refused_before_it_is_made() -> None:
    with pytest.raises(ProtocolError, match="expected 12884901888 bytes"):
        from_raw("x", Datatype.FP32, (1 << 30, 3), b"")


def test_arrays_of_odd_addresses_are_aligned() -> None:
    data = memoryview(b"\0" + np.arange(4, dtype="<f4").tobytes())[1:]
    array = from_raw("x", Datatype.FP32, (4,), data).array
    assert array.flags.aligned
    assert array.tolist() == [0, 1, 2, 3]


def test_unknown_datatype_is_refused() -> None:
    assert read_datatype("FP32", "x") is Datatype.FP32
    for word in ("BF16", "fp32", None, 3, ["FP32"]):
        with pytest.raises(ProtocolError):
            read_datatype(word, "x")


def test_bytes_that_are_no_text_do_not_go_as_json() -> None:
    with pytest.raises(ProtocolError) as caught:
        to_json(bytes_tensor("x", [b"\xff"]))
    assert caught.value.reason == "output_not_json"
