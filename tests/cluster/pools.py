"""``make pool-check``: job variables and manifests of docs/production.md, judged by Prefect's workers and Kubernetes.

No container is started: Prefect's own workers say which variables they know and what they would hand to Kubernetes,
and Kubernetes' published schemas say whether it would take that. Needs packages that .ci/pool-check installs.
"""

import asyncio
import os
import re
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml

_PAGE = Path(__file__).resolve().parents[2] / "docs" / "production.md"
_KUBERNETES = ("1.30", "1.35")
_OF_PREFECT = ("completions", "parallelism")
"""Fields of a Job that Prefect's template has in the pod, too, where Kubernetes passes them over."""


def main() -> int:
    """Judges everything on the page.

    Returns:
        The exit code: 0 where Prefect and Kubernetes take all of it.
    """
    # Blocks are not asked for, and without an address a server would be started.
    os.environ["PREFECT_API_URL"] = "http://127.0.0.1:9/api"
    from prefect_docker.worker import DockerWorker  # noqa: PLC0415  # once the address is set
    from prefect_kubernetes.worker import KubernetesWorker  # noqa: PLC0415  # as above

    everywhere, on_kubernetes = _job_variables()
    _know(DockerWorker.get_default_base_job_template(), everywhere)
    template = KubernetesWorker.get_default_base_job_template()
    _know(template, everywhere | on_kubernetes)
    job = asyncio.run(_job(template, everywhere | on_kubernetes))
    for version in _KUBERNETES:
        for manifest in (job, *_manifests()):
            kubernetes_validate.validate(manifest, version, strict=True)
            _say(f"Kubernetes {version} takes the {manifest['kind']} {manifest['metadata'].get('name', '')}")
    return 0


def _blocks() -> list[str]:
    return re.findall(r"```yaml\n(.*?)```", _PAGE.read_text(encoding="utf-8"), re.DOTALL)


def _job_variables() -> tuple[dict[str, Any], dict[str, Any]]:
    everywhere = next(block for block in _blocks() if "&job_variables" in block)
    on_kubernetes = next(block for block in _blocks() if "service_account_name" in block)
    return yaml.safe_load(everywhere)["job_variables"], yaml.safe_load(on_kubernetes)


def _manifests() -> Iterator[dict[str, Any]]:
    for block in _blocks():
        if "apiVersion" in block:
            yield from yaml.safe_load_all(block)


def _know(template: dict[str, Any], variables: dict[str, Any]) -> None:
    schema = {**template["variables"], "additionalProperties": False}
    jsonschema.validate(variables, schema)
    _say(f"Prefect's worker knows {', '.join(sorted(variables))}")


async def _job(template: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
    from prefect.client.schemas.objects import FlowRun  # noqa: PLC0415  # once the address is set
    from prefect_kubernetes.worker import KubernetesWorkerJobConfiguration  # noqa: PLC0415  # as above

    configuration = await KubernetesWorkerJobConfiguration.from_template_and_values(template, variables)
    run = FlowRun(id=uuid.uuid4(), flow_id=uuid.uuid4(), name="batch 7: 10,000 contacts of request 2")
    configuration.prepare_for_flow_run(run)
    manifest: dict[str, Any] = configuration.job_manifest
    for name in _OF_PREFECT:
        del manifest["spec"]["template"]["spec"][name]
    return manifest


def _say(message: str) -> None:
    sys.stderr.write(f"{message}\n")


if __name__ == "__main__":
    sys.exit(main())
