"""The installation that this process belongs to: everything of it on the Prefect server carries its name.

A server may have several installations, such as production and staging, and other projects, whose flows, limits and
artifacts may have the names that ours have. Whatever is deleted, crashed, cancelled, counted or alerted about is found
by what is made here, and never by the name of a flow.
"""

import os
import re
from dataclasses import dataclass
from typing import Literal, get_args

from bouncer.errors import SettingRefused

__all__ = ["DEFAULT_NAME", "NAME_PATTERN", "NAME_VARIABLE", "FlowName", "Installation", "LimitName", "here"]

NAME_VARIABLE = "BOUNCER_FLOWS_NAME"

DEFAULT_NAME = "bouncer"
"""The name from before there could be two installations; the default one keeps it."""

NAME_PATTERN = r"[a-z][a-z0-9]{0,29}"
"""No dash: the limit of account "eu" of one installation could be that of another one's."""

_Verifying = Literal["dispatch", "ingest", "verify-batch", "verify-list", "verify-risky", "reverify", "requeue"]
_Beside = Literal["forecast", "report-costs", "housekeeping", "check-health", "export-request", "cancel", "steer"]
FlowName = Literal[_Verifying, _Beside]
"""The flows; each has one deployment, which is called alike."""

LimitName = Literal["batches", "api", "uploads", "realtime"]
"""The limits that each account has; those of the default one are ``bouncer-batches``, ``bouncer-api`` and so on."""

_PROJECT = "bouncer-flows"


@dataclass(frozen=True)
class Installation:
    """The names of one installation's things on the Prefect server.

    Attributes:
        name: Its own name.
    """

    name: str = DEFAULT_NAME

    @property
    def is_default(self) -> bool:
        """Tells whether its things have the names without an addition."""
        return self.name == DEFAULT_NAME

    @property
    def tag(self) -> str:
        """The mark of its runs, deployments and automations, which nobody else sets."""
        return f"installation:{self.name}"

    @property
    def tags(self) -> tuple[str, str]:
        """The tags of each of its runs and deployments: the project, for people, and the mark."""
        return (_PROJECT, self.tag)

    @property
    def title(self) -> str:
        """The name for people, which automations begin with."""
        return _PROJECT if self.is_default else f"{_PROJECT} {self.name}"

    @property
    def block(self) -> str:
        """The block document of the contacts database, of the prices and of the first account."""
        return "default" if self.is_default else self.name

    @property
    def events(self) -> str:
        """The beginning of the ids of its events and of the resources that they are about."""
        return _PROJECT if self.is_default else f"{_PROJECT}.{self.name}"

    def account_block(self, account: str) -> str:
        """The block document of an account."""
        if self.is_default:
            return account
        return self.name if account == "default" else f"{self.name}-{account}"

    def account_of(self, document: str) -> str | None:
        """The account that a block document of this installation holds; None where its name is not one of ours."""
        if self.is_default:
            return document
        if document == self.name:
            return "default"
        return document.removeprefix(f"{self.name}-") if document.startswith(f"{self.name}-") else None

    def limit(self, what: LimitName, account: str) -> str:
        """A global concurrency limit; those of the default account end without its name."""
        return f"{self.name}-{what}" if account == "default" else f"{self.name}-{what}-{account}"

    def limits(self, account: str) -> list[str]:
        """All global concurrency limits of an account."""
        return [self.limit(what, account) for what in get_args(LimitName)]

    def deployment(self, name: str) -> str:
        """A deployment, without its flow."""
        return name if self.is_default else f"{self.name}-{name}"

    def deployment_of(self, flow: FlowName) -> str:
        """A flow's deployment, as Prefect finds it."""
        return f"{flow}/{self.deployment(flow)}"

    def artifact(self, key: str) -> str:
        """The key of an artifact."""
        return key if self.is_default else f"{self.name}-{key}"

    def variable(self, what: str) -> str:
        """A Prefect variable."""
        return f"{self.name}_{what}"

    def once(self, key: str) -> str:
        """An idempotency key, which the server compares over all deployments of a flow."""
        return key if self.is_default else f"{self.name}/{key}"

    def queue(self, pool: str, priority: str) -> str:
        """A work queue; in a pool that is not the installation's own, others have queues too."""
        return priority if pool == self.name else f"{self.name}-{priority}"


def here() -> Installation:
    """The installation that BOUNCER_FLOWS_NAME names.

    Raises:
        SettingRefused: It is no such name.
    """
    name = os.environ.get(NAME_VARIABLE) or DEFAULT_NAME
    if not re.fullmatch(NAME_PATTERN, name):
        raise SettingRefused(f"{NAME_VARIABLE}: use up to 30 small letters and digits, beginning with a letter")
    return Installation(name)
