"""A stand-in for the Bouncer service, with faults on demand: for the demo, the tests and load tests."""

from sandbox.server import serve_sandbox
from sandbox.settings import SandboxSettings

__all__ = ["SandboxSettings", "serve_sandbox"]
