"""The peer as a process, with a Redis of its own: loopback only, its data in a folder of the caller."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from bench.peer.programs import Programs
from bench.processes import Command, running
from tests.cluster.databases import Redis

__all__ = ["running_peer"]


@contextmanager
def running_peer(programs: Programs, variables: Mapping[str, str], folder: Path) -> Iterator[tuple[Command, int]]:
    """Runs the peer while the block does; it ends by itself when no contact is queued or in a batch.

    Args:
        programs: What runs it.
        variables: Those that ``bouncer-flows`` reads.
        folder: For Redis and the log.

    Yields:
        The peer, and the process id of Redis.
    """
    # Durable, as the documentation of BullMQ asks for in production.
    redis = Redis(folder, programs.redis, durable=True)
    of_peer = {
        **variables,
        # PyMySQL is this side's driver only.
        "DATABASE_URL": variables["DATABASE_URL"].replace("mysql+pymysql://", "mysql://"),
        "REDIS_PORT": str(redis.port),
    }
    try:
        redis.start()
        with running([], of_peer, folder / "peer.log", programs.node) as command:
            yield command, redis.program.pid
    finally:
        redis.program.stop()
