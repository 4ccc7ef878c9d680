"""The version that this is."""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = ["this_version"]


def this_version() -> str:
    """Reads the version that is installed, or that of the tree where nothing is installed, as in the image."""
    try:
        return version("bouncer-flows")
    except PackageNotFoundError:
        import tomllib

        # The packages are on the path there, beside the file that says it.
        project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
        return str(project["project"]["version"])
