"""The terminal, which shows names and reasons as they are: to rich, ``[final]`` would be a style."""

from rich.console import Console

__all__ = ["console"]


def console(*, stderr: bool = False) -> Console:
    """Opens standard output, or standard error, for texts that come from databases and files.

    Args:
        stderr: Standard error.

    Returns:
        A console without markup, emoji codes and highlighting.
    """
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False)
