"""Starts the sandbox: ``python -m sandbox --port 8025``."""

from typing import Annotated

import cyclopts

from sandbox.server import serve_sandbox
from sandbox.settings import SandboxSettings

app = cyclopts.App(name="sandbox", version_flags=())


@app.default
def serve(
    *,
    host: str = "127.0.0.1",
    port: int = 8025,
    until_input_ends: Annotated[bool, cyclopts.Parameter(negative="")] = False,
    settings: Annotated[SandboxSettings, cyclopts.Parameter(name="*")] = SandboxSettings(),  # noqa: B008  # frozen
) -> None:
    """Serves a stand-in for the Bouncer API until it is stopped.

    Args:
        host: The address to listen on.
        port: The port to listen on; 0 takes a free one.
        until_input_ends: Stop when standard input is at its end, too.
        settings: How the sandbox behaves.
    """
    serve_sandbox(settings, host, port, until_input_ends=until_input_ends)


if __name__ == "__main__":
    app()
