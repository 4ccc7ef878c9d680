"""The page of metrics and alerts: the figures of health, and the judgements that are made of them."""

import ast
import inspect

from bouncer.monitoring import alerts
from bouncer.monitoring.figures import FIGURES
from bouncer.monitoring.thresholds import Thresholds
from tests.docs.reference.markdown import table

__all__ = ["metrics_page", "thresholds_of_alerts"]


def metrics_page() -> str:
    """Each figure, by its name in the table and in Prometheus; each alert, with its threshold."""
    figures = [(f"`{name}`", f"`bouncer_flows_{name}`", meaning) for name, meaning in FIGURES.items()]
    begun = [
        (f"`{alert}`", ", ".join(f"`{name}`" for name in names), ", ".join(_default(name) for name in names))
        for alert, names in sorted(thresholds_of_alerts().items())
    ]
    return "\n\n".join(
        [
            "# Metrics and alerts",
            (
                "`check-health` keeps the figures in `Bouncer_Health_Metrics` each minute; `serve` exposes them for "
                "Prometheus where `METRICS_PORT` is set. [Monitoring](../monitoring.md) tells how they are measured, "
                "and what begins and ends an alert."
            ),
            table(("figure", "gauge", "what it is"), figures),
            "## Alerts",
            "The parameters are fields of `thresholds` of the deployment [`check-health`](flows.md#check-health).",
            table(("alert", "parameter", "default"), begun),
        ]
    )


def thresholds_of_alerts() -> dict[str, list[str]]:
    """The fields of ``Thresholds`` that each alert is judged by; none where it needs none."""
    found: dict[str, list[str]] = {}
    for node in ast.walk(ast.parse(inspect.getsource(alerts))):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Judgement":
            name = node.args[0]
            assert isinstance(name, ast.Constant), "the reference can read only names that stand in the code"
            fields = [
                part.attr
                for part in ast.walk(node)
                if isinstance(part, ast.Attribute) and getattr(part.value, "id", "") == "thresholds"
            ]
            found[str(name.value)] = sorted(set(fields))
    return found


def _default(name: str) -> str:
    return f"{Thresholds.model_fields[name].default:,}"
