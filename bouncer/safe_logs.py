"""Log lines of ours: what strangers write stays within its line, and no library tells what it sends."""

import logging
from typing import Any

from bouncer.safe_text import visible

__all__ = ["keep_logs_safe"]

_OURS = ("bouncer", "blocks", "tasks", "flows", "deployments", "prefect.flow_runs", "prefect.task_runs")
# By these, at level DEBUG, goes all that is sent: the password of the Prefect server, and statements with values.
_TELL_ALL = ("websockets", "websockets.client", "websockets.server", "aiosqlite", "httpcore", "hpack", "pymysql")


def keep_logs_safe() -> None:
    """Makes log lines so, in this process. Running it again changes nothing."""
    for name in _TELL_ALL:
        # Of their own, so that they take no other from the root, however its level is spelled.
        logging.getLogger(name).setLevel(logging.INFO)
    made = logging.getLogRecordFactory()
    if isinstance(made, _Factory):
        return
    logging.setLogRecordFactory(_Factory(made))


class _Factory:
    def __init__(self, made: Any) -> None:
        self._made = made

    def __call__(self, name: str, *args: Any, **kwargs: Any) -> logging.LogRecord:
        record: logging.LogRecord = self._made(name, *args, **kwargs)
        if name.split(".", maxsplit=1)[0] in _OURS or name in _OURS:
            if isinstance(record.args, tuple):
                record.args = tuple(_safe(one) for one in record.args)
            elif isinstance(record.args, dict):
                record.args = {key: _safe(one) for key, one in record.args.items()}
        return record


def _safe(value: object) -> object:
    if isinstance(value, str):
        return visible(value)
    # Exceptions are told by their text.
    return visible(str(value)) if isinstance(value, BaseException) else value
