"""What stands in prefect.yaml, which Prefect's own command reads, and in the code as well: both agree."""

from importlib import import_module
from typing import get_args

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
    for written in written_deployments():
        assert written["work_pool"]["job_variables"]["env"] == RUN_SETTINGS, written["name"]
