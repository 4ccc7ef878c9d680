"""Exporting the verdicts of a request into a CSV file."""

import asyncio
from pathlib import Path

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from sqlalchemy import Engine

from blocks.access import open_database
from bouncer.files.exporting import export_results
from bouncer.files.private_folders import private_folder
from bouncer.requests.names import find_request

__all__ = ["export"]


@task(name="export", task_run_name="export", cache_policy=NO_CACHE, persist_result=False)
async def export(request: int | str, folder: Path) -> Path:
    """Writes ``request-ID.csv`` into a folder of this machine, which is made where it is missing.

    Safe to run twice: the file appears whole or not at all, and a newer one takes its place.

    Args:
        request: The name or number of the request.
        folder: Where to; readable for its owner alone where it is made here, since the file holds addresses.

    Returns:
        The file.

    Raises:
        InputRefused: There is no such request, or the file cannot be written.
    """
    engine = await open_database()
    path, rows = await asyncio.to_thread(_export, engine, request, folder)
    get_run_logger().info("%d contacts of request %s written to %s", rows, request, path)
    return path


def _export(engine: Engine, request: int | str, folder: Path) -> tuple[Path, int]:
    request_id = find_request(engine, request) if isinstance(request, str) else request
    path = private_folder(folder) / f"request-{request_id}.csv"
    return path, export_results(engine, path, request_id=request_id).rows
