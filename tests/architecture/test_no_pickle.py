"""Serving never unpickles: none of ours that it imports can, and a release that is served does not.

A pickle runs code when it is read. What is served are ONNX files; `.pt` is for trainers alone.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from sightloop.testing.source_tree import (
    PACKAGE,
    Module,
    attribute_uses,
    package_folder,
    read_modules,
)

MODULES = {
    ".".join(module.path.with_suffix("").parts).removesuffix(".__init__"): module
    for module in read_modules(package_folder())
}
SERVED_BY = ("app.server", "serving.worker", "serving.zygote", "serving.embedded")
UNPICKLING = frozenset(
    {"pickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "copyreg"}
)
READERS = {"torch": {"load", "hub", "package"}, "np": {"load"}, "numpy": {"load"}}
"""Functions of libraries that unpickle what they read, or can be told to."""


def imported_by(module: Module) -> Iterator[str]:
    """Full names of modules, inside functions too; `from a import b` may mean `a.b`."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def served() -> dict[str, Module]:
    """Our modules that a server and its workers can import."""
    found: dict[str, Module] = {}
    waiting = list(SERVED_BY)
    while waiting:
        name = waiting.pop()
        if name in MODULES and name not in found:
            found[name] = MODULES[name]
            own = (each for each in imported_by(MODULES[name]) if each.startswith(f"{PACKAGE}."))
            waiting += [each.removeprefix(f"{PACKAGE}.") for each in own]
    return found


def test_what_serves_is_looked_at_as_a_whole() -> None:
    assert {"runtime.loaded_release", "release.archive", "serving.grpc_server"} <= set(served())
    assert not [name for name in served() if name.startswith("pipeline")]


def test_nothing_that_serves_imports_what_unpickles() -> None:
    found = [
        f"{name} imports {imported}"
        for name, module in served().items()
        for imported in imported_by(module)
        if imported.partition(".")[0] in UNPICKLING
    ]
    assert not found


def test_nothing_that_serves_reads_by_a_function_that_can_unpickle() -> None:
    found = [
        f"{name}:{line} {library}.{used}"
        for name, module in served().items()
        for library, names in READERS.items()
        for used, line in attribute_uses(module.tree, library)
        if used in names
    ]
    words = [name for name, module in served().items() if "allow_pickle=True" in module.text]
    assert not found + words


WATCHED = """
import pickle, sys
from pathlib import Path

seen = []
sys.addaudithook(lambda event, _: seen.append(event) if event == "pickle.find_class" else None)
pickle.loads(pickle.dumps(Path))
assert seen, "the hook sees what is unpickled"
del seen[:]

from sightloop.release.signing import create_key, load_trust
from sightloop.distribution.store import ReleaseStore
from sightloop.gates.chain import admit
from sightloop.gates.integrity import AcceptedReleases
from sightloop.testing.plates import render_plate
from sightloop.testing.tiny_detectors import build_tiny_release
from sightloop.vision.decode import encode_jpeg
import sightloop.app.server

folder = Path(sys.argv[1])
key = create_key(folder / "keys")
build_tiny_release(folder / "bundle", semver="1.0.0", key=key)
del seen[:]  # building is not serving
store, trust = ReleaseStore(folder / "store"), load_trust(folder / "keys", [])
nothing = AcceptedReleases(None, frozenset())
found = admit(
    folder / "bundle",
    store=store,
    trust=trust,
    line="plate",
    champion_folder=None,
    accepted=nothing,
)
assert found.loaded is not None, found.verdicts
answer = found.loaded.answer(encode_jpeg(render_plate(1)[0]))
assert answer.width_px
found.loaded.close()
assert not seen, seen
"""


def test_release_is_proven_and_served_without_one_pickle(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WATCHED, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
