"""Which code makes a step what it is: a digest over sources, found without running them.

The digest covers the step's module, every module of its package and of this package that it
imports, at whatever depth and wherever in the file, and the versions of the third-party
distributions among those imports. What is loaded by a computed name is not seen: a step that
does so declares it in `Step.code`.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.metadata
import importlib.util
import json
import platform
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from sightloop.errors import GraphInvalidError

_PACKAGE = "sightloop"


def code_digest(modules: Iterable[str]) -> str:
    """Hex SHA-256 over the code behind `modules`.

    Raises:
        GraphInvalidError: `module_missing`: one of `modules` does not exist.
    """
    sources, distributions = code_of(modules)
    value = {
        "sources": {name: _source_digest(path) for name, path in sources.items()},
        "distributions": distributions,
        "python": ".".join(platform.python_version_tuple()[:2]),
    }
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def code_of(modules: Iterable[str]) -> tuple[dict[str, Path], dict[str, str]]:
    """Source file by module, and version by third-party top-level module.

    Raises:
        GraphInvalidError: `module_missing`: one of `modules` does not exist.
    """
    waiting = []
    for module in modules:
        if _find(module) is None:
            raise GraphInvalidError(
                f"step module {module}: expected a module that can be imported, found none; "
                "correct its name in the graph",
                "module_missing",
            )
        waiting.append(module)
    own = {_PACKAGE, *(name.partition(".")[0] for name in waiting)}
    sources: dict[str, Path] = {}
    foreign: set[str] = set()
    while waiting:
        name = waiting.pop()
        path = _find(name) if name not in sources else None
        if path is None:
            continue
        sources[name] = path
        for imported in (*_parents(name), *_imports(name, path)):
            top = imported.partition(".")[0]
            if top in own:
                waiting.append(imported)
            elif top not in sys.stdlib_module_names:
                foreign.add(top)
    return sources, {name: _versions(name) for name in sorted(foreign)}


def _source_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _parents(name: str) -> Iterator[str]:
    """The packages around a module: importing it runs them too."""
    while "." in name:
        name = name.rpartition(".")[0]
        yield name


def _find(name: str) -> Path | None:
    """Source file of a module or package, found along the package's path without importing."""
    top, *rest = name.split(".")
    spec = importlib.util.find_spec(top)
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin)
    if not rest:
        return path if path.suffix == ".py" else None
    folder = path.parent.joinpath(*rest)
    for candidate in (folder / "__init__.py", folder.with_suffix(".py")):
        if candidate.is_file():
            return candidate
    return None


def _imports(name: str, path: Path) -> tuple[str, ...]:
    """Every module the file may import; names that turn out to be no module are harmless."""
    return _imports_of(name, path.name == "__init__.py", path.read_bytes())


@functools.lru_cache(maxsize=1024)
def _imports_of(name: str, is_package: bool, source: bytes) -> tuple[str, ...]:
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.extend(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = _start_of(node, name, is_package=is_package)
            found.append(start)
            found.extend(f"{start}.{alias.name}" for alias in node.names)
    return tuple(found)


def _start_of(node: ast.ImportFrom, name: str, *, is_package: bool) -> str:
    if not node.level:
        return node.module or ""
    package = name.split(".") if is_package else name.split(".")[:-1]
    kept = package[: len(package) - node.level + 1]
    return ".".join([*kept, *([node.module] if node.module else [])])


def _versions(top: str) -> str:
    names = sorted(set(_distributions().get(top, ())))
    if not names:
        return "absent"
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)


@functools.cache
def _distributions() -> dict[str, list[str]]:
    return dict(importlib.metadata.packages_distributions())
