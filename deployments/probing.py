"""Probes a saved account through the shared limits, once nothing of ours is in flight there."""

import asyncio
import os
import socket
from contextlib import ExitStack
from dataclasses import dataclass

import httpx
from prefect import get_client

from blocks.access import open_database
from blocks.bouncer_account import BouncerAccount
from blocks.saved_blocks import load_saved
from bouncer.api.base_url import stays_here
from bouncer.api.response_bodies import ACCEPTED_ENCODINGS
from bouncer.batches.state import AT_BOUNCER
from bouncer.batches.unsettled import unsettled
from bouncer.errors import InputRefused, SettingRefused
from bouncer.installation import here
from bouncer.plurals import counted
from bouncer.probe.listener import listening
from bouncer.probe.run import ProbeReport, probe
from bouncer.probe.transcript import Transcript
from bouncer.probe.wire import Wire
from deployments.settings import Settings
from deployments.setup.set_up import set_up

__all__ = ["Callback", "probe_account"]

_ANSWER_SECONDS = 60


@dataclass(frozen=True)
class Callback:
    """The way for a callback: the URL that Bouncer is told, and the port that it leads to."""

    url: str
    port: int


async def probe_account(settings: Settings, name: str, callback: Callback | None) -> tuple[ProbeReport, Transcript]:
    """Sets up what is missing, then probes an account.

    Args:
        settings: The environment.
        name: The account.
        callback: The way for a callback; None for none, unless Bouncer is a sandbox on this machine.

    Returns:
        What was found, and what was asked and answered.

    Raises:
        InputRefused: Batches of ours are in flight, so that the limit could be passed and the line is not empty.
        BouncerFlowsError: It could not be asked.
    """
    await set_up(settings)
    account = await load_saved(BouncerAccount, here().account_block(name))
    if account is None:
        raise SettingRefused(f"there is no account {name}; run bouncer-flows setup")
    engine = await open_database()
    in_flight = [
        batch for batch in await asyncio.to_thread(unsettled, engine, [name]) if batch.title.state in AT_BOUNCER
    ]
    if in_flight:
        batches = counted(len(in_flight), "batch", "batches")
        raise InputRefused(f"{batches} in flight at account {name}; probe it once all is loaded")
    key = account.api_key.get_secret_value().strip()
    transcript = Transcript(key)
    headers = {"User-Agent": "bouncer-flows", "Accept-Encoding": ACCEPTED_ENCODINGS}
    with ExitStack() as opened:
        listener = None
        if callback is not None:
            # Whatever forwards the callback may come from anywhere; the address is known for two minutes only.
            listener = opened.enter_context(listening("0.0.0.0", callback.port, callback.url))  # noqa: S104  # as said
        elif stays_here(account.base_url):
            listener = opened.enter_context(listening("127.0.0.1", 0, None))
        async with (
            get_client() as server,
            httpx.AsyncClient(
                timeout=_ANSWER_SECONDS, headers=headers, trust_env=not stays_here(account.base_url)
            ) as http,
        ):
            caller = f"probe on {socket.gethostname()} {os.getpid()}"
            gate = account.get_gate(engine, server, name=name, caller=caller)
            return await probe(Wire(http, account.base_url, key, gate, transcript), listener=listener), transcript
