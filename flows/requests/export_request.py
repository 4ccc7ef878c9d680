"""Flow ``export-request``: the verdicts of one request go into a CSV file, as when the request is complete."""

from prefect import flow

from flows.parameters import OneRequest
from tasks.requests.export import export
from tasks.running.heartbeats import sends_heartbeats
from tasks.running.run_names import named_by_request

__all__ = ["export_request"]


@flow(name="export-request", flow_run_name=named_by_request("export request"), persist_result=False)
@sends_heartbeats
async def export_request(request_id: OneRequest, folder: str = "~/.bouncer-flows/exports") -> str:
    """Writes the contacts of a request with their verdicts into request-ID.csv. Needs the block contacts-database.

    Args:
        request_id: The name or number of the request.
        folder: The folder that the file goes into, on the machine of the worker; or a URL such as s3://bucket/exports;
            or a storage block, as block:s3-bucket/exports, where workers keep no files.

    Returns:
        The place of the file.
    """
    return await export(request_id, folder)
