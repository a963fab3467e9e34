"""docs/reference/reasons.md says every reason that the code can give, and no other."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from sightloop import errors
from sightloop.cli.main import exit_code_of
from sightloop.errors import SightloopError
from sightloop.serving.request_rest import status_of
from sightloop.testing.markdown import code_of, rows_of, sections_of
from sightloop.testing.source_tree import Function, package_folder, read_modules

PAGE = (Path(__file__).resolve().parents[2] / "docs/reference/reasons.md").read_text()
MODULES = read_modules(package_folder())
NAMES = frozenset({"reason", "kind"})
ANY = "\0"
"""Stands for the part of a reason that is put together at run time."""

REASONS_SECTIONS = [s for s in sections_of(PAGE) if s.title != "Errors"]
STATED = {code_of(row[0])[0] for section in REASONS_SECTIONS for row in rows_of(section.body)}


def carriers() -> dict[str, int | None]:
    """Everything callable that takes a reason, and where: None is by name alone."""
    found: dict[str, int | None] = {}
    for module in MODULES:
        names = NAMES if module.path.parts[0] == "dataset" else {"reason"}
        for node in ast.walk(module.tree):
            if isinstance(node, Function):
                arguments = [a.arg for a in node.args.args if a.arg not in ("self", "cls")]
                if node.name != "__init__" and names & {*arguments, *_by_name(node)}:
                    found[node.name] = _place(arguments, names)
            elif isinstance(node, ast.ClassDef):
                fields = [s.target.id for s in node.body if _is_field(s)]  # type: ignore[attr-defined]  # _is_field
                if names & set(fields):
                    found[node.name] = _place(fields, names)
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, SightloopError):
            found[kind.__name__] = 1
    return found


def _by_name(node: Function) -> set[str]:
    return {argument.arg for argument in node.args.kwonlyargs}


def _place(names: list[str], wanted: frozenset[str] | set[str]) -> int | None:
    return next((place for place, name in enumerate(names) if name in wanted), None)


def _is_field(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)


def given_reasons() -> Iterator[str]:
    """Every text that is handed over as a reason; `ANY` stands for what is not written out."""
    known = carriers()
    for module in MODULES:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Call):
                place = known.get(_called(node), -1)
                if place != -1:
                    yield from _from_call(node, place, module.tree)
            elif isinstance(node, ast.Dict):
                for key, value in zip(node.keys, node.values, strict=True):
                    if isinstance(key, ast.Constant) and key.value == "reason":
                        yield from _texts(value, module.tree)


def _called(call: ast.Call) -> str:
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _from_call(call: ast.Call, place: int | None, tree: ast.Module) -> Iterator[str]:
    for keyword in call.keywords:
        if keyword.arg in NAMES:
            yield from _texts(keyword.value, tree)
    if place is not None and len(call.args) > place:
        yield from _texts(call.args[place], tree)


def _texts(value: ast.expr, tree: ast.Module) -> Iterator[str]:
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        yield value.value
    elif isinstance(value, ast.IfExp):
        yield from _texts(value.body, tree)
        yield from _texts(value.orelse, tree)
    elif isinstance(value, ast.JoinedStr):
        parts = (p.value if isinstance(p, ast.Constant) else ANY for p in value.values)
        yield "".join(str(part) for part in parts)
    elif isinstance(value, ast.Name):
        yield from _assigned(value.id, tree)


def _assigned(name: str, tree: ast.Module) -> Iterator[str]:
    """Texts that a name is given anywhere in its module, or as a constant of another."""
    here = list(_assigned_in(name, tree))
    yield from here
    if not here and name.isupper():
        for module in MODULES:
            yield from _assigned_in(name, module.tree)


def _assigned_in(name: str, tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
            continue
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            pairs = [(target, node.value)]
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                pairs = list(zip(target.elts, node.value.elts, strict=True))
            for one, value in pairs:
                if isinstance(one, ast.Name) and one.id == name:
                    yield from _texts(value, tree)


ERRORS = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, SightloopError)
}
GIVEN = {*given_reasons(), *(kind.default_reason for kind in ERRORS.values())}
WHOLE = {reason for reason in GIVEN if ANY not in reason}
PATTERNS = {re.compile(re.escape(reason).replace(re.escape(ANY), ".+")) for reason in GIVEN - WHOLE}


def test_reasons_are_found_in_all_their_forms() -> None:
    forms = {
        "image_undecodable",  # default of a class
        "image_empty",  # second argument of an error
        "output_not_finite",  # by name
        "systematic_offset",  # argument of a function that makes a finding
        "candidate_timed_out",  # assigned beside its message
        "dataset_faulty",  # one side of a condition
        "duplicate_across_splits",  # kind of a finding that ends a run
        "superseded",  # verdict of the switch
        "worker_died_on_frame",  # a constant, assigned on a condition
    }
    assert forms <= WHOLE


def test_reasons_are_snake_case() -> None:
    assert not [reason for reason in WHOLE if not re.fullmatch(r"[a-z][a-z0-9_]*", reason)]


def test_every_reason_is_documented() -> None:
    assert not WHOLE - STATED


def test_every_documented_reason_is_given_somewhere() -> None:
    strange = {
        reason for reason in STATED - WHOLE if not any(p.fullmatch(reason) for p in PATTERNS)
    }
    assert not strange


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: pattern.pattern)
def test_reasons_put_together_at_run_time_are_documented(pattern: re.Pattern[str]) -> None:
    assert any(pattern.fullmatch(reason) for reason in STATED)


def test_every_reason_says_what_to_do() -> None:
    rows = [row for section in REASONS_SECTIONS for row in rows_of(section.body)]
    assert not [row[0] for row in rows if len(row) != 3 or not row[1] or not row[2]]
    assert len(rows) == len(STATED), "a reason stands twice"


def test_table_of_errors_says_exit_code_status_and_retry_as_the_code_does() -> None:
    section = next(section for section in sections_of(PAGE) if section.title == "Errors")
    stated = {code_of(row[0])[0]: row[1:4] for row in rows_of(section.body)}
    known = {}
    for name, kind in ERRORS.items():
        if kind is not SightloopError:
            error = kind("for its kind")
            again = "yes" if error.retryable else "no"
            known[name] = (str(exit_code_of(error)), str(status_of(error)), again)
    assert stated == known
