"""The page of flows: their parameters, and the deployments that run them."""

import importlib
from pathlib import Path
from typing import Any

import yaml
from prefect import Flow

from tests.docs.markdown import Schema, allowed, as_code, default_of, first_part, flat, resolved, table

__all__ = ["deployments_of_file", "flows_page"]

_FILE = Path(__file__).parents[3] / "prefect.yaml"


def flows_page() -> str:
    """Each deployment of prefect.yaml, with the flow that it runs and the parameters of its form."""
    parts = [
        "# Flows",
        (
            "A flow runs as a deployment, from Prefect's UI, by a schedule or by an automation; parameters are given "
            "in the form of the deployment. A deployment of `prefect.yaml` has the name of its flow by default."
        ),
        table(
            ("deployment", "runs", "what it does"),
            [
                (f"[`{one['name']}`](#{one['name']})", _schedule(one), one["description"])
                for one in deployments_of_file()
            ],
        ),
    ]
    for deployment in deployments_of_file():
        parts += _deployment(deployment)
    return "\n\n".join(parts)


def deployments_of_file() -> list[dict[str, Any]]:
    """The deployments of prefect.yaml."""
    found: list[dict[str, Any]] = yaml.safe_load(_FILE.read_text())["deployments"]
    return found


def _deployment(deployment: dict[str, Any]) -> list[str]:
    module, _, function = deployment["entrypoint"].rpartition(".")
    flow: Flow[Any, Any] = getattr(importlib.import_module(module), function)
    file = f"{module.replace('.', '/')}.py"
    schema = flow.parameters.model_dump()
    given = deployment.get("parameters", {})
    definitions: dict[str, Schema] = schema.get("definitions", {})
    name = deployment["name"]
    return [
        f"## `{name}`",
        first_part(flow.fn.__doc__),
        table(
            ("", ""),
            [
                ("flow", f"`{flow.name}` in `{file}`"),
                ("runs", _schedule(deployment)),
                ("at one time", _at_one_time(deployment)),
                ("work queue", as_code(deployment["work_pool"]["work_queue_name"])),
            ],
        ),
        *_parameters(schema["properties"], definitions, given),
    ]


def _schedule(deployment: dict[str, Any]) -> str:
    schedules = deployment.get("schedules") or []
    words = [
        f"`{schedule.get('cron') or schedule.get('interval') or schedule.get('rrule')}`, {schedule.get('timezone')}"
        + ("" if schedule.get("active", True) else " (off unless switched on)")
        for schedule in schedules
    ]
    return "; ".join(words) or "when it is asked for"


def _at_one_time(deployment: dict[str, Any]) -> str:
    limit = deployment.get("concurrency_limit")
    if limit is None:
        return "any number"
    if isinstance(limit, int):
        return str(limit)
    others = {"CANCEL_NEW": "a new one is cancelled", "ENQUEUE": "others wait"}[limit["collision_strategy"]]
    return f"{limit['limit']}; {others}"


def _parameters(properties: dict[str, Schema], definitions: dict[str, Schema], given: dict[str, Any]) -> list[str]:
    if not properties:
        return ["It has no parameters."]
    rows, nested = [], []
    for name, field in properties.items():
        full = resolved(field, definitions)
        default = f"{as_code(given[name])} (set by the deployment)" if name in given else default_of(field)
        rows.append((f"`{name}`", default, allowed(field, definitions), flat(full.get("description", ""))))
        if "properties" in full:
            nested += [f"Fields of `{name}`:", *_parameters(full["properties"], definitions, {})]
    return [table(("parameter", "default", "what it may be", "meaning"), rows), *nested]
