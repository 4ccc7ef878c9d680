"""``python -m tests.fuzz.one NAME``: one property under atheris, in a process of its own, which atheris ends."""

import importlib
import sys
import warnings

import atheris

# What is followed branch by branch; instrumented while it is imported.
_FOLLOWED = ["bouncer", "deployments.settings", "email_validator", "idna"]


def main() -> None:
    """Fuzzes the property that the first argument names; the others are libFuzzer's."""
    name = sys.argv.pop(1)
    with atheris.instrument_imports(include=_FOLLOWED):
        properties = importlib.import_module("tests.fuzz.properties")
    warnings.simplefilter("ignore")
    atheris.Setup(sys.argv, properties.PROPERTIES[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
