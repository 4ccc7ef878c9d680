"""Findings of the probe: each behaviour is as the table has it, is different, or could not be tried."""

import enum
from dataclasses import dataclass

from bouncer.probe.behaviours.table import Behaviour, behaviour_of

__all__ = ["Finding", "Findings", "Outcome"]


class Outcome(enum.StrEnum):
    """Outcome of trying a behaviour."""

    EXPECTED = "as expected"
    DIFFERS = "differs"
    UNTRIED = "not tried"


@dataclass(frozen=True)
class Finding:
    """One behaviour that was tried.

    Attributes:
        seen: What was seen, or why it could not be tried.
    """

    behaviour: Behaviour
    outcome: Outcome
    seen: str


class Findings:
    """Collects findings, one for each behaviour; a difference outweighs the rest."""

    def __init__(self) -> None:
        self._by_name: dict[str, Finding] = {}

    def check(self, name: str, seen: object, *, holds: bool) -> None:
        """Writes down what was seen of a behaviour.

        Args:
            name: Its name in the table.
            seen: What was seen, in words.
            holds: Whether that is what the table says.
        """
        before = self._by_name.get(name)
        if before is not None and before.outcome is Outcome.DIFFERS:
            return
        outcome = Outcome.EXPECTED if holds else Outcome.DIFFERS
        self._by_name[name] = Finding(behaviour_of(name), outcome, str(seen))

    def untried(self, name: str, why: str) -> None:
        """Writes down that a behaviour could not be tried."""
        self._by_name.setdefault(name, Finding(behaviour_of(name), Outcome.UNTRIED, why))

    def all(self) -> list[Finding]:
        """All findings, in the order in which they were made."""
        return list(self._by_name.values())
