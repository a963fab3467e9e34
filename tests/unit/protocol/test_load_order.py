from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightloop.errors import ProtocolError, UnsupportedError
from sightloop.protocol.load_order import LoadOrder, read_load_order


@pytest.mark.parametrize(
    ("parameters", "order"),
    [
        ({}, LoadOrder()),
        ({"config": "{}"}, LoadOrder()),
        ({"bundle": "/b"}, LoadOrder(bundle="/b")),
        ({"digest": "abcdef"}, LoadOrder(version="abcdef")),
        ({"semver": "1.2.0"}, LoadOrder(version="1.2.0")),
        ({"config": json.dumps({"semver": "1.2.0"})}, LoadOrder(version="1.2.0")),
        (
            {"config": json.dumps({"parameters": {"digest": {"string_value": "abcdef"}}})},
            LoadOrder(version="abcdef"),
        ),
    ],
)
def test_load_names_a_bundle_a_release_or_nothing(
    parameters: dict[str, Any], order: LoadOrder
) -> None:
    assert read_load_order(parameters) == order


@pytest.mark.parametrize(
    "parameters",
    [
        {"bundle": 1},
        {"bundle": ""},
        {"bundle": "/b", "digest": "abcdef"},
        {"semver": "1.2.0", "digest": "abcdef"},
        {"config": "no json"},
        {"config": "[]"},
        {"bundel": "/b"},
    ],
)
def test_load_that_names_no_release_is_refused(parameters: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError):
        read_load_order(parameters)


def test_files_in_a_load_are_refused_since_nobody_signed_them() -> None:
    with pytest.raises(UnsupportedError, match="signed bundle"):
        read_load_order({"config": "{}", "file:1/model.onnx": "AAAA"})


@given(st.dictionaries(st.sampled_from(["config", "bundle", "semver", "x"]), st.text() | st.none()))
def test_any_parameters_are_an_order_or_refused_as_one(parameters: dict[str, Any]) -> None:
    with contextlib.suppress(ProtocolError):
        assert isinstance(read_load_order(parameters), LoadOrder)
