"""The plan's own design with BullMQ, Redis and Node, run on the same work to be measured beside."""

from bench.peer.rows import beside_bullmq

__all__ = ["beside_bullmq"]
