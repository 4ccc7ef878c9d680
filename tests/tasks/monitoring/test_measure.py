"""What check-health counts as a failure of the workers."""

import importlib
import pkgutil

from prefect import Flow

import flows
from tasks.monitoring.measure import FLOWS


def test_failures_of_every_flow_are_counted() -> None:
    """A flow that is added here is added to those whose failed runs alert somebody."""
    modules = [importlib.import_module(f"flows.{module.name}") for module in pkgutil.iter_modules(flows.__path__)]
    names = {flow.name for module in modules for flow in vars(module).values() if isinstance(flow, Flow)}
    assert names <= set(FLOWS)
