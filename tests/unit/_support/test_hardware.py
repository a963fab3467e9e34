"""The machine in words."""

from __future__ import annotations

import re

from sightloop._support.hardware import describe_hardware


def test_machine_is_named_with_its_cores() -> None:
    assert re.fullmatch(r".+, \d+ cores", describe_hardware())
