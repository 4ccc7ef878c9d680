"""The page of metrics, from the figures of health."""

from bouncer.health import FIGURES
from tests.docs.reference.markdown import table

__all__ = ["metrics_page"]


def metrics_page() -> str:
    """Each figure, by its name in the table and in Prometheus."""
    rows = [(f"`{name}`", f"`bouncer_flows_{name}`", meaning) for name, meaning in FIGURES.items()]
    return "\n\n".join(
        [
            "# Metrics",
            (
                "`check-health` keeps them in `Bouncer_Health_Metrics` each minute, and `serve` exposes them for "
                "Prometheus where `METRICS_PORT` is set. [Monitoring](../monitoring.md) tells how they are measured, "
                "and which alerts they raise."
            ),
            table(("figure", "gauge", "what it is"), rows),
        ]
    )
