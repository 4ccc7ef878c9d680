"""Steps of a list: what it would cost, queueing it, and giving it back with its verdicts."""

import asyncio
from dataclasses import dataclass

from prefect import get_client, get_run_logger, task
from prefect.artifacts import acreate_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run

from blocks.access import Access
from bouncer.costs.forecast import Forecast, forecast_file
from bouncer.costs.forecast_text import headline
from bouncer.errors import SpendingRefused
from bouncer.files.csv.reading import inspect
from bouncer.files.import_text import outcome, remarks
from bouncer.files.importing import ImportReport, import_contacts, request_names
from bouncer.files.lists.destinations import refuse_overwriting
from bouncer.files.lists.list_rows import list_of, note_result, request_of
from bouncer.files.lists.results import Choice, Written, check_choice, write_list
from bouncer.files.lists.sources import opened_list
from bouncer.installation import here
from bouncer.plurals import counted
from bouncer.requests.counting import count_credits
from bouncer.requests.users import known_user
from bouncer.safe_text import clean_message, in_markdown, without_addresses
from bouncer.storage.tables import Priority
from tasks.costs.forecast import terms_of
from tasks.requests.lists_page import LISTS, publish_lists
from tasks.running.standing_artifacts import link_to_artifact

__all__ = ["ListOrder", "give_back", "price_list", "publish_list", "queue_list"]


@dataclass(frozen=True)
class ListOrder:
    """Order to verify a list; see flow verify-list.

    Attributes:
        place: Where the list is.
        result: Where its result goes.
        name: The name of its request, or None for the file's.
        owner: The number of the user who asks, or None.
        priority: How urgent it is.
        column: The column of addresses, or None to find it.
        split: Whether cells with several addresses are split.
        max_credits: The most credits that the request may cost, 0 for any number, or None.
        add: Whether it may join a complete request.
        overwrite: Whether the result may replace a file that is not its own.
        choice: Which lines the result has.
    """

    place: str
    result: str
    name: str | None
    owner: int | None
    priority: Priority
    column: str | None
    split: bool
    max_credits: int | None
    add: bool
    overwrite: bool
    choice: Choice


@task(name="price", task_run_name="price", cache_policy=NO_CACHE, persist_result=False)
async def price_list(access: Access, order: ListOrder, spend_at_most: int | None) -> Forecast:
    """Counts what a list would cost, before a contact of it is queued. Safe to run twice: it only reads.

    Args:
        access: The account that would pay.
        order: The list.
        spend_at_most: More credits than these are refused; None for any number.

    Raises:
        InputRefused: The list or the place of its result cannot be used.
        SpendingRefused: It could cost more.
    """
    terms = await terms_of(access)

    def count() -> Forecast:
        if order.owner is not None:
            known_user(access.engine, order.owner)
        names = request_names(order.place, order.name, order.owner)
        with opened_list(order.place) as source:
            _refuse_foreign_result(access, order, names, source.digest)
            check_choice(inspect(source.path, order.column, source.name), order.choice)
            return forecast_file(
                access.engine, order.place, terms, request=names, column=order.column, split=order.split
            )

    forecast = await asyncio.to_thread(count)
    told = without_addresses(headline(forecast))
    get_run_logger().info("%s", told)
    if spend_at_most is not None and forecast.most_credits > spend_at_most:
        raise SpendingRefused(
            f"{told}, at most {forecast.most_credits:,}; no more than {spend_at_most:,} may be spent "
            "without asking. Nothing was queued; allow more and start again"
        )
    return forecast


def _refuse_foreign_result(access: Access, order: ListOrder, names: tuple[str, str | int], digest: str) -> None:
    # Before anything is paid for. What an earlier run of the same order has written is its own.
    request_id = request_of(access.engine, *names)
    known = None if request_id is None else list_of(access.engine, request_id)
    if order.overwrite or (known is not None and known.result == order.result and known.source_digest == digest):
        return
    refuse_overwriting(order.result)


@task(name="queue", task_run_name="queue", cache_policy=NO_CACHE, persist_result=False)
async def queue_list(access: Access, order: ListOrder) -> ImportReport:
    """Queues the addresses of a list. Safe to run twice: what is queued already stays as it is.

    Args:
        access: The database.
        order: The list.

    Raises:
        InputRefused: The list cannot be used.
    """

    def queue() -> ImportReport:
        report = import_contacts(
            access.engine,
            order.place,
            request_name=order.name,
            user=order.owner,
            priority=order.priority,
            column=order.column,
            max_credits=order.max_credits,
            split=order.split,
            add=order.add,
        )
        note_result(access.engine, report.request_id, order.result)
        return report

    report = await asyncio.to_thread(queue)
    for line in (outcome(report), *remarks(report)):
        get_run_logger().info("%s", without_addresses(line))
    async with get_client() as client:
        # So that the list's page finds the run, and people find all runs of a request.
        await client.update_flow_run(flow_run.id, tags=sorted({*flow_run.tags, f"request:{report.request_id}"}))
    await publish_lists(access)
    return report


@task(name="give back", task_run_name="give back", cache_policy=NO_CACHE, persist_result=False)
async def give_back(access: Access, order: ListOrder, request_id: int) -> Written:
    """Writes the list with its verdicts. Safe to run twice: the result appears whole, and replaces its own.

    Args:
        access: The database.
        order: The list.
        request_id: Its request.

    Raises:
        InputRefused: The result cannot be written.
    """

    def give() -> Written:
        with opened_list(order.place) as source:
            layout = inspect(source.path, order.column, source.name)
            return write_list(access.engine, layout, request_id, order.result, order.choice, split=order.split)

    written = await asyncio.to_thread(give)
    get_run_logger().info("%s written to %s", counted(written.lines, "line"), without_addresses(order.result))
    return written


async def publish_list(access: Access, order: ListOrder, imported: ImportReport, written: Written) -> None:
    """Publishes artifact ``list-ID``: what became of the list, what it cost, and where its result is."""
    spent = await count_credits(access, imported.request_id)
    name, place = (in_markdown(clean_message(text)) for text in (imported.request_name, order.result))
    figures = {
        "lines": imported.lines,
        "rejected": imported.rejected,
        **{f"advice: {advice}": written.advice.get(advice, 0) for advice in ("send", "review", "suppress")},
        "credits": spent,
    }
    await acreate_markdown_artifact(
        "\n".join(
            [
                f"## {name}",
                "",
                f"The result is in {place}.",
                "",
                "| this list | |",
                "|---|---:|",
                *(f"| {what} | {count:,} |" for what, count in figures.items()),
                "",
                f"[All lists]({link_to_artifact(LISTS)})",
            ]
        ),
        key=here().artifact(f"list-{imported.request_id}"),
        description=f"{name}: {counted(written.lines, 'line')} in {place}",
    )
    await publish_lists(access)
