"""``python -m tests.cluster.image``: the steps of the Dockerfile, done in a temporary folder where there is no Docker.

COPY and RUN are done as they stand, with the image's folders below the temporary one. What only an image can have is
left out and said: the base, the user, a read-only root.
"""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

_PROJECT = Path(__file__).resolve().parents[2]
_DOCKERFILE = _PROJECT / "deployments" / "Dockerfile"
_FOLDERS = ("/app", "/venv")
_AFTERWARDS = (
    "bouncer-flows --version",
    "bouncer-flows --help",
    "python -m sandbox --help",
    "prefect version",
    "python -c 'import asyncpg, prefect_redis.lease_storage, prefect_redis.messaging, prefect_redis.ordering'",
    "python -c 'import flows.dispatch, flows.verify_batch, deployments.setup'",
)


def main() -> int:
    """Does the steps, then tries the programs that the compose file starts.

    Returns:
        The exit code: 0 where everything worked.
    """
    with tempfile.TemporaryDirectory(prefix="image-") as temporary:
        root = Path(temporary)
        environment = {"PATH": os.environ["PATH"], "HOME": temporary, "PREFECT_HOME": f"{temporary}/prefect"}
        cwd = root
        for step, arguments in _steps():
            words = shlex.split(arguments)
            if step == "WORKDIR":
                cwd = root / arguments.lstrip("/")
                cwd.mkdir(parents=True, exist_ok=True)
            elif step == "ENV":
                environment |= dict(word.split("=", 1) for word in shlex.split(_inside(arguments, root)))
                environment["PATH"] = environment["PATH"].replace("$PATH", os.environ["PATH"])
            elif step == "COPY" and "--from=build" not in words:
                _say(f"COPY {arguments}")
                for source in words[:-1]:
                    _copy(_PROJECT / source, cwd / words[-1])
            elif step == "RUN" and not words[0].startswith("user"):
                _say(f"RUN {arguments}")
                _run(_inside(arguments, root), cwd, environment)
            else:
                _say(f"left out: {step} {arguments}")
        for command in _AFTERWARDS:
            _say(command)
            _run(command, root, environment)
    _say("every step and every program worked")
    return 0


def _steps() -> list[tuple[str, str]]:
    text = _DOCKERFILE.read_text().replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in lines]


def _inside(text: str, root: Path) -> str:
    for folder in _FOLDERS:
        text = text.replace(folder, f"{root}{folder}")
    return text


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", ".env"))
    else:
        shutil.copy(source, target)


def _run(command: str, cwd: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(["sh", "-c", command], cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        _say((done.stdout + done.stderr)[-3000:])
        sys.exit(f"this ended with {done.returncode}: {command}")


def _say(message: str) -> None:
    sys.stderr.write(f"{message}\n")


if __name__ == "__main__":
    sys.exit(main())
