"""The page of what Bouncer does, from the table that the sandbox, the client and the probe go by."""

from bouncer.probe.behaviours.table import BEHAVIOURS
from tests.docs.markdown import table

__all__ = ["bouncer_page"]


def bouncer_page() -> str:
    """Each behaviour with its source, what we do about it, and the test that holds it."""
    rows = [
        (
            f"`{behaviour.name}`" + (" ·" if behaviour.if_not else ""),
            behaviour.bouncer,
            f"{behaviour.mark}: {behaviour.source}",
            behaviour.ours,
            f"[`{behaviour.test.partition('::')[2]}`](../../{behaviour.test.partition('::')[0]})",
        )
        for behaviour in BEHAVIOURS
    ]
    return "\n\n".join(
        [
            "# What Bouncer does",
            (
                "The sandbox behaves like this, and the client reckons with it. *Documented*: Bouncer's documentation "
                "([docs.usebouncer.com](https://docs.usebouncer.com), its OpenAPI file among it) or its Java SDK says "
                "so. *Seen*: a real account did it. *Assumed*: nobody says; it is the reading that costs least. "
                "`bouncer-flows probe` asks an account about the rows with a dot."
            ),
            table(("", "what Bouncer does", "mark and source", "what we do", "held by"), rows),
        ]
    )
