"""The figures of the last check for Prometheus, in OpenMetrics; on this machine only, unless METRICS_HOST says else."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, exposition
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector
from sqlalchemy import Connection, Engine, select
from sqlalchemy.exc import DBAPIError
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as AsgiScope

from bouncer.errors import SettingRefused
from bouncer.monitoring.alerts import in_force
from bouncer.monitoring.figures import FIGURES
from bouncer.monitoring.health import Scope
from bouncer.monitoring.measurement import latest_metrics
from bouncer.storage.dialects import database_now
from bouncer.storage.tables import Account
from deployments.protection.http_server import listening_socket, serving
from deployments.protection.own_pages import AddressedByName
from deployments.settings import Settings

__all__ = ["PREFIX", "FigureCollector", "serving_metrics"]

PREFIX = "bouncer_flows_"


class FigureCollector(Collector):
    """Reads the figures of the last check, and the alerts, whenever Prometheus asks.

    Args:
        engine: Of the contacts database.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Yields the figures; where the database is away, only that it is."""
        up = GaugeMetricFamily(f"{PREFIX}database_up", "Whether the contacts database answers")
        try:
            # Not by bouncer.database.read, whose patience is longer than Prometheus'.
            with self._engine.connect() as connection:
                families = _families(connection)
        except DBAPIError:
            up.add_metric([], 0)
            yield up
            return
        up.add_metric([], 1)
        yield up
        yield from families


@contextmanager
def serving_metrics(settings: Settings, engine: Engine) -> Iterator[int | None]:
    """Serves the figures under ``/metrics`` while the block runs, where METRICS_PORT asks for it.

    Args:
        settings: The environment.
        engine: Of the contacts database.

    Yields:
        The port, or None where there is none.

    Raises:
        SettingRefused: The address cannot be listened on.
    """
    port = settings.metrics_port
    if port == 0:
        yield None
        return
    registry = CollectorRegistry()
    registry.register(FigureCollector(engine))
    try:
        listening = listening_socket(settings.metrics_host, port)
    except OSError as error:
        raise SettingRefused(
            f"METRICS_HOST {settings.metrics_host}, METRICS_PORT {port} cannot be listened on ({error.strerror}); "
            "name another"
        ) from None
    app = AddressedByName(_app(registry), settings.metrics_host)
    with serving(app, listening, name="metrics"):
        yield port


def _app(registry: CollectorRegistry) -> ASGIApp:
    # Not the library's: it waits for a body, which may never come, and stumbles over odd headers.
    async def figures(scope: AsgiScope, receive: Receive, send: Send) -> None:
        made_as: tuple[Callable[[CollectorRegistry], bytes], str]
        made_as = exposition.generate_latest, exposition.CONTENT_TYPE_PLAIN_0_0_4
        if "application/openmetrics-text" in Headers(scope=scope).get("accept", ""):
            made_as = openmetrics.generate_latest, openmetrics.CONTENT_TYPE_LATEST
        make, form = made_as
        # Aside, so that a database that is slow holds nobody else up.
        body = await asyncio.to_thread(make, registry)
        await Response(body, media_type=form)(scope, receive, send)

    return figures


def _families(connection: Connection) -> list[GaugeMetricFamily]:
    families: dict[str, GaugeMetricFamily] = {}
    checked_ts, figures = latest_metrics(connection)
    for name, value in figures.items():
        figure, _, account = name.partition("@")
        figure, _, part = figure.partition(".")
        known = FIGURES.get(figure)
        labels = {} if known and known.scope is Scope.ALL else {"account": account or "default"}
        if known and known.part:
            labels[known.part] = part or "all"
        meaning = known.help if known else figure
        family = families.setdefault(figure, GaugeMetricFamily(f"{PREFIX}{figure}", meaning, labels=list(labels)))
        family.add_metric(list(labels.values()), value)
    age = GaugeMetricFamily(f"{PREFIX}check_age_seconds", "How long ago check-health measured these figures")
    if checked_ts is not None:
        age.add_metric([], (database_now(connection) - checked_ts).total_seconds())
    alerts = GaugeMetricFamily(f"{PREFIX}alert", "Alerts that are in force", labels=["account", "alert"])
    for account in connection.scalars(select(Account.account).order_by(Account.account)).all():
        for one in in_force(connection, account):
            alerts.add_metric([account, one.alert], 1)
    return [*families.values(), age, alerts]
