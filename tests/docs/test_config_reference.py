"""docs/reference/config.md says every setting with its default, and nothing else."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from sightloop.config.serving import ServingConfig
from sightloop.pipeline.config import PipelineConfig
from sightloop.testing.markdown import code_of, rows_of
from sightloop.testing.source_tree import package_folder, read_modules

PAGE = (Path(__file__).resolve().parents[2] / "docs/reference/config.md").read_text()


def settings(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, str]]:
    """Full key and default, as the page writes it."""
    for name, field in model.model_fields.items():
        default = field.get_default(call_default_factory=True)
        if isinstance(default, BaseModel):
            yield from settings(type(default), f"{prefix}{name}.")
        elif field.is_required():
            yield f"{prefix}{name}", "required"
        elif default is None:
            yield f"{prefix}{name}", "none"
        else:
            yield f"{prefix}{name}", f"`{json.dumps(default)}`"


def test_every_setting_stands_there_with_its_default_and_no_other() -> None:
    known = dict([*settings(ServingConfig, "serve."), *settings(PipelineConfig, "")])
    stated = {code_of(row[0])[0]: row[1] for row in rows_of(PAGE)}
    assert stated == known


def test_every_setting_has_a_meaning() -> None:
    assert not [row[0] for row in rows_of(PAGE) if len(row) < 3 or not row[2]]


def test_every_setting_of_a_server_is_used() -> None:
    used = {
        node.attr
        for module in read_modules(package_folder())
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Attribute)
    }
    assert set(ServingConfig.model_fields) - used == set()
