"""One row of the table of what Bouncer does."""

import enum
from dataclasses import dataclass

__all__ = ["Behaviour", "Mark"]


class Mark(enum.StrEnum):
    """Certainty of a behaviour."""

    DOCUMENTED = "documented"
    SEEN = "seen"
    ASSUMED = "assumed"


@dataclass(frozen=True)
class Behaviour:
    """Something that Bouncer does.

    Attributes:
        name: By which the probe calls it.
        bouncer: What Bouncer does.
        mark: How certain that is.
        source: Who says so.
        ours: What we do about it.
        test: The test that holds it.
        covers: The parts of the sandbox and the client that are about it, as the test of the table names them.
        if_not: What it means for us where the probe finds it different; empty where the probe does not look.
    """

    name: str
    bouncer: str
    mark: Mark
    source: str
    ours: str
    test: str
    covers: tuple[str, ...] = ()
    if_not: str = ""
