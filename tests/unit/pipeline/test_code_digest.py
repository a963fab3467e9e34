"""Rules of the code behind a step."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from sightloop.errors import GraphInvalidError
from sightloop.pipeline.code_digest import code_digest, code_of

_FILES = {
    "__init__.py": "",
    "step.py": "import os\nfrom . import near\nimport numpy as np\n",
    "near.py": "def f():\n    from toy.deep import inner\n",
    "deep/__init__.py": "from ..shared import value\n",
    "deep/inner.py": "import toy.last\n",
    "shared.py": "value = 1\n",
    "last.py": "from sightloop.errors import PipelineError\n",
    "unrelated.py": "x = 1\n",
}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "toy"
    for name, text in _FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    return folder


def test_imports_are_followed_at_any_depth_and_place(package: Path) -> None:
    sources, distributions = code_of(["toy.step"])
    assert {name for name in sources if name.startswith("toy")} == {
        "toy", "toy.step", "toy.near", "toy.deep", "toy.deep.inner", "toy.shared", "toy.last",
    }  # fmt: skip
    assert "sightloop.errors" in sources
    assert distributions["numpy"].startswith("numpy ")
    assert "os" not in distributions


@pytest.mark.parametrize("name", [name for name in _FILES if name != "unrelated.py"])
def test_change_of_any_imported_file_is_another_digest(package: Path, name: str) -> None:
    before = code_digest(["toy.step"])
    path = package / name
    path.write_text(path.read_text() + "y = 2\n")
    assert code_digest(["toy.step"]) != before


def test_change_of_another_file_is_the_same_digest(package: Path) -> None:
    before = code_digest(["toy.step"])
    (package / "unrelated.py").write_text("x = 2\n")
    assert code_digest(["toy.step"]) == before


def test_scanning_runs_nothing(package: Path) -> None:
    (package / "near.py").write_text("raise SystemExit\n")
    code_digest(["toy.step"])
    assert "toy" not in sys.modules


def test_another_version_of_a_library_is_another_digest(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = code_digest(["toy.step"])
    monkeypatch.setattr("importlib.metadata.version", lambda name: "0.0.1")
    assert code_digest(["toy.step"]) != before


def test_missing_module_is_refused(package: Path) -> None:
    with pytest.raises(GraphInvalidError) as caught:
        code_digest(["toy.none"])
    assert caught.value.reason == "module_missing"


def test_declared_code_counts_as_much_as_imported(package: Path) -> None:
    before = code_digest(["toy.step", "toy.unrelated"])
    (package / "unrelated.py").write_text("x = 2\n")
    assert code_digest(["toy.step", "toy.unrelated"]) != before
