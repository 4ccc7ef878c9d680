"""The compose file and the image: they fit the project, each other, and the cluster that is run without containers."""

import json
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.topology import server_settings

_PROJECT = Path(__file__).resolve().parents[2]
_FOLDER = _PROJECT / "deployments"
_OURS = "bouncer-flows:latest"


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """The compose file, with its anchors in place."""
    content: dict[str, Any] = yaml.safe_load((_FOLDER / "compose.yaml").read_text())
    return content


def _ours(compose: dict[str, Any]) -> dict[str, Any]:
    return {name: service for name, service in compose["services"].items() if service["image"] == _OURS}


def test_nothing_is_open_to_the_network(compose: dict[str, Any]) -> None:
    """Whoever starts it on a server has opened no database and no Prefect to others."""
    ports = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert len(ports) == 4
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_every_secret_is_asked_for_and_none_is_written_down(compose: dict[str, Any]) -> None:
    """What has no value in .env stops the start with a message; the example names all of it."""
    text = (_FOLDER / "compose.yaml").read_text()
    wanted = set(re.findall(r"\$\{(\w+):\?see example\.env\}", text))
    example = dict(
        line.split("=", 1)
        for line in (_FOLDER / "example.env").read_text().splitlines()
        if line and not line.startswith("#")
    )
    assert wanted == {name for name, value in example.items() if not value}
    assert set(re.findall(r"\$\{(\w+)", text)) - wanted == {"ALERT_BLOCK", "BOUNCER_API_BASE_URL", "CALLBACK_URL"}
    assert ".env" in (_PROJECT / ".gitignore").read_text().splitlines()
    assert "**/.env" in (_PROJECT / ".dockerignore").read_text().splitlines()


def test_no_secret_is_on_a_command_line(compose: dict[str, Any]) -> None:
    """Everybody on the machine can list its processes with all their arguments."""
    secrets = re.compile(r"(?<!\$)\$\{?\w*(PASSWORD|KEY|AUTH)")
    for name, service in compose["services"].items():
        said = json.dumps([service.get("command"), service.get("healthcheck")])
        assert not secrets.search(said), name


def test_backups_of_prefects_database_open_no_block(compose: dict[str, Any]) -> None:
    """Every process of the server encrypts blocks with a key that is not in its database."""
    for name in ("migrate", "server-1", "server-2", "services"):
        assert "PREFECT_SERVER_ENCRYPTION_KEY" in compose["services"][name]["environment"], name


def test_our_containers_can_do_little(compose: dict[str, Any]) -> None:
    """None runs as root, writes outside of /tmp, or can gain rights."""
    for name, service in _ours(compose).items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["tmpfs"] == ["/tmp"], name  # noqa: S108  # of the container
    assert "USER 10001" in (_FOLDER / "Dockerfile").read_text().splitlines()


def test_servers_are_set_as_in_the_cluster_that_is_run(compose: dict[str, Any]) -> None:
    """What `make cluster` shows of several server processes holds for these containers too."""
    cluster = server_settings("postgresql+asyncpg://somewhere", "redis://somewhere")
    only_there = {"PREFECT_SERVER_UI_ENABLED"}
    for name in ("migrate", "server-1", "server-2", "services"):
        settings = compose["services"][name]["environment"]
        for variable, value in cluster.items():
            if variable in only_there:
                continue
            assert variable in settings, (name, variable)
            if "://" not in value:
                assert settings[variable] == value, (name, variable)


def test_servers_have_a_place_for_the_pages_of_the_ui(compose: dict[str, Any]) -> None:
    """Prefect writes its pages out at start, beside its code unless told; where it cannot, it shows none."""
    for name in ("server-1", "server-2"):
        service = compose["services"][name]
        (writable,) = service["tmpfs"]
        assert Path(service["environment"]["PREFECT_UI_STATIC_DIRECTORY"]).is_relative_to(writable), name


def test_alerts_and_figures_can_be_had(compose: dict[str, Any]) -> None:
    """ALERT_BLOCK reaches setup, and a service has the figures where other containers and the loopback reach them."""
    assert compose["services"]["setup"]["environment"]["ALERT_BLOCK"] == "${ALERT_BLOCK:-}"
    metrics = compose["services"]["metrics"]
    port = metrics["environment"]["METRICS_PORT"]
    assert (metrics["environment"]["METRICS_HOST"], metrics["ports"]) == ("0.0.0.0", [f"127.0.0.1:{port}:{port}"])  # noqa: S104  # of the container


def test_everything_is_waited_for(compose: dict[str, Any]) -> None:
    """No service depends on one that does not exist, or on the health of one that has no check."""
    services = compose["services"]
    for name, service in services.items():
        for other, how in service.get("depends_on", {}).items():
            assert other in services, name
            if how["condition"] == "service_healthy":
                assert "healthcheck" in services[other], (name, other)


def test_the_balancer_knows_each_server(compose: dict[str, Any]) -> None:
    """A server that is added to one file and forgotten in the other would get no requests."""
    balanced = re.findall(r"^\s+server (\S+) (\S+):4200", (_FOLDER / "haproxy.cfg").read_text(), re.MULTILINE)
    assert {(name, name) for name in compose["services"] if name.startswith("server-")} == set(balanced)


def test_the_image_has_what_the_project_is_made_of() -> None:
    """Every package that pyproject.toml names is copied, may be copied, and nothing that is not there is."""
    lines = (_FOLDER / "Dockerfile").read_text().splitlines()
    copied = [
        source
        for line in lines
        if line.startswith("COPY ") and "--from" not in line
        for source in shlex.split(line)[1:-1]
    ]
    allowed = [line[1:] for line in (_PROJECT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert sorted(copied) == sorted(allowed)
    assert [source for source in copied if not (_PROJECT / source).exists()] == []
    found = tomllib.loads((_PROJECT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]
    packages = [pattern.removesuffix("*") for pattern in found["include"]]
    assert set(packages) <= set(copied)
    assert len(packages) >= 6


def test_the_image_has_the_versions_that_are_tested() -> None:
    """The lock of the image is a part of the lock of the tests."""

    def versions(lock: str) -> set[str]:
        return set(re.findall(r"^([\w.\[\],-]+==\S+)", (_PROJECT / lock).read_text(), re.MULTILINE))

    image = versions("requirements-runtime.lock")
    assert image <= versions("requirements.lock")
    assert {name.partition("==")[0] for name in image} >= {"prefect", "prefect-redis", "asyncpg", "pymysql"}
