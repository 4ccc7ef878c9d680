"""The runs' logs as JSON, one object a line, each with the ids of its run, batch and request."""

import logging
import re
import sys
from datetime import UTC, datetime
from typing import Any

from prefect.context import FlowRunContext
from prefect.logging.handlers import PrefectConsoleHandler

from deployments.terminal.json_text import json_text

__all__ = ["StructuredHandler"]

_OF_RUNS = ("flow_run_id", "flow_run_name", "flow_name", "task_run_id", "task_run_name")
_REQUEST = re.compile(r"request (\d+)$")


class StructuredHandler(PrefectConsoleHandler):
    """Takes the place of Prefect's console handler, by PREFECT_LOGGING_HANDLERS_CONSOLE_CLASS."""

    def emit(self, record: logging.LogRecord) -> None:
        """Writes one line on standard error."""
        try:
            sys.stderr.write(f"{json_text(self._line(record))}\n")
            sys.stderr.flush()
        except Exception:  # noqa: BLE001  # as every handler of the standard library does
            self.handleError(record)

    def _line(self, record: logging.LogRecord) -> dict[str, Any]:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: getattr(record, name) for name in _OF_RUNS if getattr(record, name, None) is not None}
        context = FlowRunContext.get()
        if context is not None and context.flow_run is not None:
            # Lines of bouncer, blocks and tasks do not know of the run themselves.
            line.setdefault("flow_run_id", str(context.flow_run.id))
            line.setdefault("flow_run_name", context.flow_run.name)
            line |= {name: value for name, value in _ids(context).items() if value is not None}
        if record.exc_info:
            line["exception"] = logging.Formatter().formatException(record.exc_info)
        return line


def _ids(context: FlowRunContext) -> dict[str, Any]:
    parameters = context.parameters or {}
    request = parameters.get("request_id")
    if request is None and context.flow_run is not None:
        # A batch's run has its request in its name: "batch 12: 10,000 contacts of request 3".
        named = _REQUEST.search(context.flow_run.name)
        request = None if named is None else int(named[1])
    # Some forms take the request's name too.
    name, number = (request, None) if isinstance(request, str) else (None, request)
    return {"batch_id": parameters.get("batch_id"), "request_id": number, "request": name}
