"""The artifact of a complete request: its verdicts as a chart, what it cost, and how fast it was."""

from prefect.artifacts import acreate_markdown_artifact

from blocks.access import Access
from bouncer.costs.forecast_text import duration
from bouncer.installation import here
from bouncer.monitoring.charts import verdict_table
from bouncer.plurals import counted
from bouncer.requests.names import called
from bouncer.requests.progress import Completion
from bouncer.requests.report import RequestReport, report_request
from bouncer.safe_text import in_markdown
from tasks.requests.lists_page import LISTS
from tasks.running.standing_artifacts import link_to_artifact

__all__ = ["publish_report"]


async def publish_report(access: Access, completion: Completion) -> None:
    """Publishes artifact ``request-ID``. Safe to run twice: the UI shows the latest.

    Raises:
        httpx.HTTPError: The Prefect server does not take it.
    """
    report = await report_request(access, completion)
    headline = in_markdown(_headline(completion))
    await acreate_markdown_artifact(
        _markdown(headline, report), key=here().artifact(f"request-{completion.request_id}"), description=headline
    )


def _headline(completion: Completion) -> str:
    cancelled = f", {completion.cancelled:,} cancelled" if completion.cancelled else ""
    request = called(completion.request_id, completion.name).replace("request", "Request", 1)
    done = counted(completion.done, "contact has", "contacts have")
    return f"{request} is complete: {done} a verdict, {completion.failed:,} failed{cancelled}"


def _markdown(headline: str, report: RequestReport) -> str:
    pace = report.contacts_a_minute
    figures = {
        "contacts with a verdict": f"{report.completion.done:,}",
        "failed, with a reason": f"{report.completion.failed:,}",
        "cancelled": f"{report.completion.cancelled:,}",
        "batches": f"{report.batches:,}",
        "credits used": f"{report.credits:,}",
        "from the first batch to the last verdict": "no batch" if report.seconds is None else duration(report.seconds),
        "contacts verified a minute": "too quick to tell" if pace is None else f"{pace:,.0f}",
    }
    return "\n".join(
        [
            f"## {headline}",
            "",
            verdict_table(report.verdicts),
            "",
            "| this request | |",
            "|---|---:|",
            *(f"| {what} | {figure} |" for what, figure in figures.items()),
            "",
            f"[All lists]({link_to_artifact(LISTS)})",
        ]
    )
