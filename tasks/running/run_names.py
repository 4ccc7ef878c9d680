"""Names of runs by the request that they are about, in which no address may be: Prefect keeps and shows them."""

from collections.abc import Callable

from prefect.runtime import flow_run

from bouncer.safe_text import clean_message

__all__ = ["list_run_name", "named_by_request"]


def named_by_request(one: str, every: str = "") -> Callable[[], str]:
    """Makes the function that names a flow's runs by their parameter ``request_id``.

    Args:
        one: Stands before the request's number or name.
        every: The name where no request is given.
    """

    def run_name() -> str:
        request = flow_run.get_parameters().get("request_id")
        return every if request is None else f"{one} {clean_message(str(request))}"

    return run_name


def list_run_name(name: str) -> str:
    """The name of the runs that verify a list, by which they are found again once it is to be erased."""
    return clean_message(f"list {name}")
