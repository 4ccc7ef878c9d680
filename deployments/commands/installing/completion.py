"""Prints the script by which a shell completes commands, options and their values."""

from typing import Annotated, Literal

from cyclopts import Parameter

__all__ = ["completion"]


def completion(shell: Annotated[Literal["bash", "zsh", "fish"], Parameter(help="The shell.")]) -> int:
    """Prints the script by which a shell completes commands, options and names of files.

    It knows them all by itself: completing starts no program.
    """
    from deployments.command_line import app

    print(app.generate_completion(shell=shell, prog_name="bouncer-flows"))
    return 0
