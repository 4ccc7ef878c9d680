"""The page of metrics and alerts: the figures of health, and the judgements that are made of them."""

from bouncer.monitoring.figures import FIGURES
from bouncer.monitoring.thresholds import Thresholds
from tests.docs.markdown import table

__all__ = ["metrics_page", "thresholds_of_alerts"]


def metrics_page() -> str:
    """Each figure, by its name in the table and in Prometheus; each alert, with its threshold."""
    figures = [(f"`{name}`", f"`bouncer_flows_{name}`", figure.help) for name, figure in FIGURES.items()]
    begun = [
        (f"`{alert}`", f"`{field}`" if field else "", _default(field) if field else "")
        for alert, field in sorted(thresholds_of_alerts().items())
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


def thresholds_of_alerts() -> dict[str, str]:
    """The field of ``Thresholds`` that each alert is judged by; empty where it needs none."""
    by_alert = {figure.alert: figure.row.threshold for figure in FIGURES.values() if figure.alert}
    return {alert: threshold if isinstance(threshold, str) else "" for alert, threshold in by_alert.items()}


def _default(name: str) -> str:
    return f"{Thresholds.model_fields[name].default:,}"
