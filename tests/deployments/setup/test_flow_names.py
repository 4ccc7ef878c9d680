"""The names of flows: one list, which prefect.yaml and the flows themselves agree with."""

from importlib import import_module
from typing import get_args

from bouncer.installation import FlowName, here
from deployments.setup.deployments_from_yaml import deployment_names, written_deployments


def test_the_list_of_flows_is_that_of_prefect_yaml_and_of_the_flows() -> None:
    """A deployment that the list has not would be left behind by uninstall, and not missed by setup --check."""
    written = written_deployments()
    names = [one["name"] for one in written]
    assert sorted(names) == sorted(get_args(FlowName))
    entrypoints = (one["entrypoint"].rpartition(".") for one in written)
    assert [getattr(import_module(module), function).name for module, _, function in entrypoints] == names
    assert sorted(deployment_names()) == sorted(f"{name}/{here().deployment(name)}" for name in names)
