"""Exporting the verdicts of a request into a CSV file: in a folder, at a URL, or in a storage block of Prefect."""

import asyncio
from pathlib import Path
from typing import Any

from prefect import get_run_logger, task
from prefect.blocks.core import Block
from prefect.cache_policies import NO_CACHE
from sqlalchemy import Engine

from blocks.access import open_database
from bouncer.errors import InputRefused
from bouncer.files.exporting import export_results
from bouncer.files.lists.destinations import guarded_place, send_file
from bouncer.files.lists.sources import is_url
from bouncer.files.private_folders import private_folder, temporary_folder
from bouncer.plurals import counted
from bouncer.requests.names import find_request
from bouncer.safe_text import clean_message

__all__ = ["export"]

_BLOCK = "block:"


@task(name="export", task_run_name="export", cache_policy=NO_CACHE, persist_result=False)
async def export(request: int | str, folder: str) -> str:
    """Writes ``request-ID.csv`` into a folder.

    Safe to run twice: the file appears whole or not at all, and a newer one takes its place.

    Args:
        request: The name or number of the request.
        folder: Of this machine, readable for its owner alone where it is made here; a URL such as ``s3://bucket/exports``;
            or a storage block of the Prefect server, as ``block:s3-bucket/exports``.

    Returns:
        The place of the file.

    Raises:
        InputRefused: There is no such request or block, or the file cannot be written.
    """
    folder = guarded_place(folder)
    engine = await open_database()
    if folder.startswith(_BLOCK) or is_url(folder):
        with temporary_folder() as temporary:
            path, rows = await asyncio.to_thread(_export, engine, request, temporary)
            if is_url(folder):
                place = f"{folder.rstrip('/')}/{path.name}"
                await asyncio.to_thread(send_file, path, place)
            else:
                place = f"{folder}/{path.name}"
                storage = await _storage(folder.removeprefix(_BLOCK))
                await storage.put_directory(local_path=str(temporary))
    else:
        path, rows = await asyncio.to_thread(_export, engine, request, private_folder(Path(folder)))
        place = str(path)
    name = clean_message(str(request))
    get_run_logger().info("%s of request %s written to %s", counted(rows, "contact"), name, place.partition("?")[0])
    return place


async def _storage(name: str) -> Any:
    try:
        block = await Block.aload(name)
    except ValueError:
        raise InputRefused(
            f"block {name} is missing; save it in the Prefect UI, or name another as TYPE/NAME"
        ) from None
    if not hasattr(block, "put_directory"):
        raise InputRefused(f"block {name} stores no files; name one of a type such as local-file-system or s3-bucket")
    return block


def _export(engine: Engine, request: int | str, folder: Path) -> tuple[Path, int]:
    request_id = find_request(engine, request) if isinstance(request, str) else request
    path = folder / f"request-{request_id}.csv"
    return path, export_results(engine, path, request_id=request_id).rows
