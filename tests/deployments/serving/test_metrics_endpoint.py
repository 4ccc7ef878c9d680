"""Prometheus gets the figures of the last check and the alerts; Grafana's dashboard asks for nothing else."""

import json
import re
import signal
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from sqlalchemy import Engine

from bouncer.accounts.state import ensure_row
from bouncer.errors import SettingRefused
from bouncer.monitoring.alerts import Judgement, settle
from bouncer.monitoring.figures import FIGURES
from bouncer.monitoring.measurement import record_metrics
from bouncer.storage.engine import engine_for, write
from deployments.serving.metrics_endpoint import PREFIX, serving_metrics
from deployments.settings import Settings
from tests.bouncer.storage.existing_tables import on_sqlite
from tests.deployments.running_commands import Started, clean_environment, run
from tests.flows.runs import until_it_holds
from tests.ports import free_port

_PROJECT = Path(__file__).resolve().parents[3]
_DASHBOARD = _PROJECT / "deployments" / "serving" / "grafana_dashboard.json"
_OPENMETRICS = {"Accept": "application/openmetrics-text; version=1.0.0"}


def _scrape(engine: Engine) -> dict[tuple[str, ...], float]:
    with serving_metrics(Settings(metrics_port=free_port()), engine) as port:
        answer = httpx.get(f"http://127.0.0.1:{port}/metrics", headers=_OPENMETRICS, timeout=30).raise_for_status()
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    families = text_string_to_metric_families(answer.text)
    return {
        (sample.name.removeprefix(PREFIX), *sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
    }


def test_prometheus_gets_the_last_figures(engine: Engine) -> None:
    """Each figure is a gauge; those of one call or kind of error have it as a label; alerts are told too."""
    write(engine, record_metrics, {"backlog_contacts": 1, "credits_left": 5})
    write(
        engine,
        record_metrics,
        {
            "backlog_contacts": 7,
            "error_rate_permille": 120,
            "error_rate_permille.rate limited": 100,
            "response_p95_ms": 40,
            "response_p95_ms.create": 900,
            "workers_online": 3,
        },
    )
    write(engine, record_metrics, {"backlog_contacts@deep": 2, "response_p95_ms.create@deep": 800})
    write(engine, ensure_row, "default")
    crossed = Judgement("backlog", crossed=True, message="7 contacts wait (threshold 5)")
    write(engine, settle, "default", [crossed], calm_minutes=0)
    found = _scrape(engine)
    assert found.pop(("check_age_seconds",)) < 60
    assert found == {
        ("database_up",): 1,
        ("backlog_contacts", "default"): 7,
        ("backlog_contacts", "deep"): 2,
        ("error_rate_permille", "default", "all"): 120,
        ("error_rate_permille", "default", "rate limited"): 100,
        ("response_p95_ms", "default", "all"): 40,
        ("response_p95_ms", "default", "create"): 900,
        ("response_p95_ms", "deep", "create"): 800,
        ("workers_online",): 3,
        ("alert", "default", "backlog"): 1,
    }


@on_sqlite
def test_before_the_first_check_there_are_no_figures(engine: Engine) -> None:
    """Nothing is made up: what was never measured is not there."""
    assert _scrape(engine) == {("database_up",): 1}


def test_a_database_that_is_away_is_told(tmp_path: Path) -> None:
    """The endpoint answers at once, also while there is nothing to read."""
    engine = engine_for(f"sqlite:///{tmp_path / 'no-such-folder' / 'contacts.sqlite'}")
    assert _scrape(engine) == {("database_up",): 0}


@pytest.mark.thorough
def test_a_command_serves_the_figures_alone(tmp_path: Path) -> None:
    """Beside workers, where nobody runs serve, `metrics` has them at the host and port that were set, until it ends."""
    port = free_port()
    environment = clean_environment(tmp_path, METRICS_HOST="127.0.0.2", METRICS_PORT=str(port))
    with Started(["metrics"], tmp_path, environment) as command:

        @until_it_holds
        def answers() -> None:
            assert command.code is None, command.err
            with suppress(httpx.ConnectError):
                assert "bouncer_flows_database_up 1.0" in httpx.get(f"http://127.0.0.2:{port}/metrics", timeout=30).text
                return
            raise AssertionError("nothing listens yet")

        answers()
        command.send(signal.SIGTERM)
        assert command.ended(30).code == 0
    without = run(["metrics"], clean_environment(tmp_path))
    assert without.complaint == "METRICS_PORT is not set; name the port, such as 9464"


@on_sqlite
def test_the_endpoint_is_off_unless_asked_for(engine: Engine) -> None:
    """Without METRICS_PORT nothing listens; a port that is taken is one clear line."""
    with serving_metrics(Settings(), engine) as port:
        assert port is None
    with (
        serving_metrics(Settings(metrics_port=free_port()), engine) as port,
        pytest.raises(SettingRefused, match=f"METRICS_HOST 127.0.0.1, METRICS_PORT {port} cannot be listened on"),
        serving_metrics(Settings(metrics_port=port), engine),
    ):
        pass


def test_grafana_asks_for_figures_that_there_are() -> None:
    """Every expression of the dashboard names figures that the endpoint can have, of the data source that is chosen."""
    dashboard = json.loads(_DASHBOARD.read_text())
    known = {*FIGURES, "database_up", "check_age_seconds", "alert"}
    asked = set()
    for panel in dashboard["panels"]:
        assert panel["datasource"]["uid"] == "${datasource}"
        for target in panel["targets"]:
            names = re.findall(rf"{PREFIX}(\w+)", target["expr"])
            assert names
            asked |= set(names)
    assert asked <= known
    assert [variable["type"] for variable in dashboard["templating"]["list"]] == ["datasource"]


def test_every_figure_is_explained() -> None:
    """docs/monitoring.md tells what each figure is."""
    page = (_PROJECT / "docs" / "monitoring.md").read_text()
    assert [name for name in FIGURES if f"`{name}`" not in page] == []
