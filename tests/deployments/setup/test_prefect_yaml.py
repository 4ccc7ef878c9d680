"""Values that stand in prefect.yaml, which Prefect's own command reads, and in the code as well: both agree."""

import re
from importlib import import_module
from pathlib import Path
from typing import get_args

import yaml

from bouncer.installation import FlowName, here
from deployments.server.orchestration import RUN_SETTINGS
from deployments.setup.deployments_from_yaml import deployment_names, written_deployments


def test_the_list_of_flows_is_that_of_prefect_yaml_and_of_the_flows() -> None:
    """A deployment that the list has not would be left behind by uninstall, and not missed by setup --check."""
    written = written_deployments()
    names = [one["name"] for one in written]
    assert sorted(names) == sorted(get_args(FlowName))
    entrypoints = (one["entrypoint"].rpartition(".") for one in written)
    assert [getattr(import_module(module), function).name for module, _, function in entrypoints] == names
    assert sorted(deployment_names()) == sorted(f"{name}/{here().deployment(name)}" for name in names)


def test_runs_on_workers_have_the_settings_of_runs_of_commands() -> None:
    """A worker's log was full of warnings that a thread belongs to no run, which commands have switched off."""
    page = (Path(__file__).resolve().parents[3] / "docs" / "production.md").read_text()
    (for_containers,) = [block for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL) if "&job_" in block]
    assert yaml.safe_load(for_containers)["job_variables"]["env"] == RUN_SETTINGS
    for written in written_deployments():
        assert written["work_pool"]["job_variables"]["env"] == RUN_SETTINGS, written["name"]
