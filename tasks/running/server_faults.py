"""Faults in the settings of the Prefect server itself: keys that it hands to strangers, and its forgetting."""

import httpx
from prefect.client.orchestration import PrefectClient

__all__ = ["server_faults"]

_LEASES_IN_MEMORY = (
    "the Prefect server keeps slot leases in memory, so slots leak when it is killed, and are free again only when "
    "ingest finds them; start it with "
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE=prefect.server.concurrency.lease_storage.filesystem"
)
_OPEN_TO_WEB_PAGES = (
    "the Prefect server has no password, so every web page that somebody has open can read its blocks, and the keys in "
    "them; start it with PREFECT_SERVER_API_AUTH_STRING=USER:PASSWORD, and set PREFECT_API_AUTH_STRING to the same"
)


async def server_faults(client: PrefectClient) -> list[str]:
    """Says what is wrong with the server, a line for each fault; none where it does not tell its settings."""
    try:
        server = (await client.request("GET", "/admin/settings")).json().get("server", {})
    except (httpx.HTTPError, ValueError):
        return []
    faults = []
    if str(server.get("concurrency", {}).get("lease_storage", "")).endswith(".memory"):
        faults.append(_LEASES_IN_MEMORY)
    api = server.get("api", {})
    # The server that commands start by themselves has no password either, and refuses the pages of other sites.
    if not api.get("auth_string") and "*" in str(api.get("cors_allowed_origins", "")):
        faults.append(_OPEN_TO_WEB_PAGES)
    return faults
