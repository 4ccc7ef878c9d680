"""Flow ``verify-list``: a list goes in, and comes back with a verdict and advice on every line."""

from typing import Annotated, Any, Literal

from prefect import flow
from prefect.runtime import flow_run
from pydantic import Field

from blocks.access import open_accounts
from blocks.run_tags import marked
from bouncer.errors import ListUnfinished
from bouncer.files.lists.destinations import place_of_result
from bouncer.files.lists.results import Choice
from bouncer.files.lists.sources import name_of
from bouncer.requests.counting import count_credits
from bouncer.safe_text import WITHOUT_ADDRESS
from bouncer.storage.tables import Layer, Priority
from bouncer.verdicts.advice import Advice
from flows.ingest import ingest
from tasks.batches.ownership import new_owner
from tasks.requests.list_report import ListReport
from tasks.requests.lists import ListOrder, give_back, price_list, publish_list, queue_list
from tasks.running.heartbeats import sends_heartbeats
from tasks.running.run_names import list_run_name
from tasks.running.stopping import graceful_run

__all__ = ["verify_list"]


def _run_name() -> str:
    parameters = flow_run.get_parameters()
    return list_run_name(parameters.get("name") or name_of(str(parameters.get("file"))))


def _field(title: str, **bounds: Any) -> Any:
    # Prefect makes the name of a parameter its title; only what is added to the schema outlives that.
    return Field(json_schema_extra={"title": title}, **bounds)


def _text(title: str, **bounds: Any) -> Any:
    # Prefect keeps and shows what stands in the form.
    return Field(json_schema_extra={"title": title, "pattern": WITHOUT_ADDRESS}, **bounds)


@flow(name="verify-list", flow_run_name=_run_name, persist_result=False)
@sends_heartbeats
async def verify_list(  # noqa: PLR0913  # each is a field of the form
    file: Annotated[str, _text("List", min_length=1)],
    *,
    result: Annotated[str | None, _text("Result")] = None,
    name: Annotated[str | None, _text("Name of the list")] = None,
    owner: Annotated[int | None, _field("Owner", ge=1)] = None,
    priority: Annotated[Literal["low", "normal", "high", "critical"], _field("Priority")] = "normal",
    spend_at_most: Annotated[int | None, _field("Spend at most (credits)", ge=0)] = 1_000,
    only: Annotated[Literal["all", "send", "review", "suppress"], _field("Lines")] = "all",
    where: Annotated[str | None, _text("Rule")] = None,
    addresses_only: Annotated[bool, _field("Addresses only")] = False,
    excel: Annotated[bool, _field("For Excel")] = False,
    column: Annotated[str | None, _text("Column of addresses")] = None,
    split: Annotated[bool, _field("Split cells")] = False,
    add: Annotated[bool, _field("Add to a complete list")] = False,
    overwrite: Annotated[bool, _field("Overwrite the result")] = False,
    max_credits: Annotated[int | None, _field("Cap on credits", ge=0)] = None,
) -> ListReport:
    """Verifies a list from beginning to end: price, queue, verify, give back.

    Started again, it goes on where it stopped and pays nothing twice. Prefect keeps what stands in the fields, so none
    takes an e-mail address. Needs the blocks bouncer-account and
    contacts-database, and the limits that bouncer-flows setup makes.

    Args:
        file: The path of a CSV file or Excel workbook on the machine of the worker, or a URL (https, s3, gs, …).
        result: The path or URL that the list comes back to; .xlsx and .gz are understood. Beside the list if left out.
        name: By which it is found again; the file's name if left out.
        owner: The number of the user who asks, as the page of lists shows it.
        priority: The priority; higher goes first.
        spend_at_most: If the list could cost more credits, nothing of it is queued. Empty for any number.
        only: The lines that come back, by the advice on them.
        where: A rule of your own on the result's columns, such as status == 'risky' and score < 60.
        addresses_only: Give nothing back but the addresses, each once, as mail systems take suppression lists.
        excel: With a byte order mark and the separator of the worker's locale.
        column: The header of the column with the addresses, or its number from 1; found if left out.
        split: Take each address of a cell that holds several, instead of rejecting its line.
        add: Add the list to a complete request of the same name.
        overwrite: Replace a file that is there already.
        max_credits: The most credits that this list may cost from now on; what is left waits. 0 for any number.
    """
    order = ListOrder(
        place=file,
        result=place_of_result(file, result),
        name=name,
        owner=owner,
        priority=Priority[priority.upper()],
        column=column,
        split=split,
        max_credits=max_credits,
        add=add,
        overwrite=overwrite,
        choice=Choice(None if only == "all" else Advice(only), where, addresses_only, excel),
    )
    with graceful_run():
        async with open_accounts(None, new_owner(), layer=Layer.BASIC) as accounts:
            access = accounts[0]
            await price_list(access, order, spend_at_most)
            imported = await queue_list(access, order)
            before = await count_credits(access, imported.request_id)
            with marked(f"request:{imported.request_id}"):
                summary = await ingest(imported.request_id)
            if summary.left:
                raise ListUnfinished(
                    f"{imported.request_name}: {summary.message}; start it again as it is, to go on and get the result"
                )
            written = await give_back(access, order, imported.request_id)
            await publish_list(access, order, imported, written)
            in_all = await count_credits(access, imported.request_id)
            return ListReport.of(imported, written, order.result, credits_now=in_all - before, credits_in_all=in_all)
