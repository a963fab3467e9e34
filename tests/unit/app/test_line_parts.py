from pathlib import Path

from sightloop._support.hardware import describe_hardware
from sightloop.app.line_parts import setting_of
from sightloop.config.serving import ServingConfig
from sightloop.config.workspace import open_workspace
from sightloop.serving.tuning import Measured, Setting, keep_tuning


def test_workers_and_threads_are_as_set_and_as_measured_when_auto(tmp_path: Path) -> None:
    workspace = open_workspace(tmp_path)
    keep_tuning(
        workspace.tuning,
        "plate",
        hardware=describe_hardware(),
        measured=[Measured(Setting(1, 1), 60.0, 16.0), Measured(Setting(1, 2), 70.0, 10.0)],
    )
    assert setting_of(ServingConfig(workers=3, threads=2), workspace, "plate") == Setting(3, 2)
    assert setting_of(ServingConfig(workers="auto"), workspace, "plate") == Setting(1, 2)
    assert setting_of(ServingConfig(workers="auto"), workspace, "weld") == Setting(1, 1)
