"""What the tests of the sandbox call it with: an account's calls and the control endpoints, as they are answered."""

from typing import Any

import httpx

__all__ = ["KEY", "OTHER_KEY", "Api", "Clock"]

KEY = "sandbox-key"
OTHER_KEY = "other-key"


class Clock:
    """Tells the time that the test has set."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        """The time in epoch seconds."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Moves on."""
        self.now += seconds


class Api:
    """Calls of the sandbox over HTTP, as one account.

    Args:
        root: The sandbox, without the version in the path.
        clock: The clock of the sandbox.
        key: The key of the account.
    """

    def __init__(self, root: str, clock: Clock, key: str = KEY) -> None:
        self.clock = clock
        self.root = root
        self.http = httpx.Client(base_url=f"{root}/v1.1", headers={"x-api-key": key}, timeout=20)

    def create(self, *addresses: str, **query: str) -> httpx.Response:
        """Uploads addresses."""
        body = [{"email": address} for address in addresses]
        return self.http.post("/email/verify/batch", json=body, params=query)

    def created(self, *addresses: str) -> str:
        """Uploads addresses, which must succeed, and returns the batch's id."""
        batch_id: str = self.create(*addresses).raise_for_status().json()["batchId"]
        return batch_id

    def completed(self, *addresses: str) -> str:
        """Uploads addresses, has the batch completed at once, and returns its id."""
        batch_id = self.created(*addresses)
        self.control("POST", f"/batches/{batch_id}/complete")
        return batch_id

    def status(self, batch_id: str) -> httpx.Response:
        """Asks how far a batch has come, with its statistics."""
        return self.http.get(f"/email/verify/batch/{batch_id}", params={"with-stats": "true"})

    def download(self, batch_id: str, **headers: str) -> httpx.Response:
        """Asks for the results of a batch."""
        path = f"/email/verify/batch/{batch_id}/download"
        return self.http.get(path, params={"download": "all"}, headers=headers)

    def finish(self, batch_id: str) -> httpx.Response:
        """Stops a batch."""
        return self.http.post(f"/email/verify/batch/{batch_id}/finish")

    def delete(self, batch_id: str) -> httpx.Response:
        """Deletes a batch."""
        return self.http.delete(f"/email/verify/batch/{batch_id}")

    def credits(self) -> int:
        """Asks for the credits that are left, which must succeed."""
        left: int = self.http.get("/credits").raise_for_status().json()["credits"]
        return left

    def control(self, method: str, path: str, json: Any = None, **query: str) -> Any:
        """Calls a control endpoint, which must succeed."""
        answer = self.http.request(method, f"{self.root}/_sandbox{path}", json=json, params=query)
        return answer.raise_for_status().json()

    def ledger(self, **query: str) -> dict[str, Any]:
        """Reads the ledger."""
        ledger: dict[str, Any] = self.control("GET", "/ledger", **query)
        return ledger

    def fault(self, kind: str, **fault: Any) -> None:
        """Arms a fault."""
        self.control("POST", "/faults", {"kind": kind, **fault})

    def settings(self, **changes: Any) -> None:
        """Changes settings."""
        self.control("POST", "/settings", changes)
