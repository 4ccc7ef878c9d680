"""A person at the Prefect UI: a real browser, and what is done and read in it."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from playwright.sync_api import Locator, Page, expect, sync_playwright
from tenacity import Retrying, retry, retry_if_exception_type, stop_after_delay, wait_fixed

__all__ = ["PrefectUI", "missing_browser", "open_ui"]

_PATIENCE_SECONDS = 120
_IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"


def missing_browser() -> str | None:
    """Why no browser can be started on this machine, or None where one can."""
    return None if shutil.which("chromium") else "chromium not found: apt-get install chromium"


class PrefectUI:
    """The UI of a Prefect server.

    Args:
        page: A page of the browser.
        address: Where the UI is.
    """

    def __init__(self, page: Page, address: str) -> None:
        self._page = page
        self._address = address

    def open(self, path: str) -> None:
        """Goes to a page of the UI by its path."""
        self._page.goto(f"{self._address}{path}")

    def open_deployment(self, name: str) -> None:
        """Opens a deployment; the page that lists them shows only those that there is room for."""
        self.open(f"/deployments/deployment/{self._deployment(name)}")
        expect(self._page.get_by_text("Next Run").or_(self._page.get_by_text("Flow ID")).first).to_be_visible()

    # Serve tells where the UI is before it makes the deployments.
    @retry(
        retry=retry_if_exception_type(LookupError),
        wait=wait_fixed(0.2),
        stop=stop_after_delay(_PATIENCE_SECONDS),
        reraise=True,
    )
    def _deployment(self, name: str) -> str:
        wanted = {"deployments": {"name": {"any_": [name]}}}
        found = httpx.post(f"{self._address}/api/deployments/filter", json=wanted).raise_for_status().json()
        if not found:
            raise LookupError(f"there is no deployment {name}")
        return str(found[0]["id"])

    def pause_schedule(self) -> None:
        """Switches the one schedule of the deployment off that is open."""
        switch = self._page.locator(".deployment-schedule-card").get_by_role("switch")
        switch.click()
        expect(switch).to_have_attribute("aria-checked", "false")

    def open_form(self) -> None:
        """Opens the form of the deployment that is open, from which a run with parameters is started."""
        self._page.get_by_role("button", name="Run", exact=True).click()
        self._page.get_by_text("Custom run").click()
        expect(self._page.get_by_role("button", name="Submit")).to_be_visible()

    def fill(self, **parameters: int) -> None:
        """Fills in fields of the form that is open: a number in the place of None, or a switch."""
        for name, value in parameters.items():
            field = self._page.locator(".schema-form-property").filter(has_text=f"{name} (")
            if isinstance(value, bool):
                switch = field.get_by_role("switch")
                if switch.get_attribute("aria-checked") != str(value).lower():
                    switch.click()
            else:
                field.get_by_role("button", name="int").click()
                field.locator("input").fill(str(value))

    def write(self, title: str, text: str) -> None:
        """Writes a text into the field of the form that is open, by its title."""
        label = self._page.locator(".schema-form-property__label").get_by_text(title, exact=True)
        self._page.locator(".schema-form-property").filter(has=label).locator("textarea").fill(text)

    def submit(self) -> None:
        """Submits the form that is open, and waits until the server has taken it."""
        with self._page.expect_response(lambda answer: answer.url.endswith("/create_flow_run")) as taken:
            self._page.get_by_role("button", name="Submit").click()
        assert taken.value.ok, taken.value.text()

    def has_ended(self, state: str) -> None:
        """Waits until the run that is open shows a state."""
        self._look_again_until_seen(self._page.locator(".page-heading").get_by_text(state, exact=True).first)

    def retry(self) -> None:
        """Retries the run that is open by its button."""
        self._page.get_by_role("button", name="Retry").click()
        self._page.get_by_role("dialog").get_by_role("button", name="Retry").click()

    def says(self, text: str | re.Pattern[str]) -> None:
        """Waits until the page shows a text."""
        expect(self._page.get_by_text(text).first).to_be_visible()

    def follow(self, name: str | re.Pattern[str]) -> None:
        """Clicks on the first link of that name, once it is there."""
        link = self._page.get_by_role("link", name=name, exact=True).first
        self._look_again_until_seen(link)
        link.click()

    def follow_in_text(self, name: str) -> None:
        """Clicks on the first link of that name in the text of an artifact, which opens in a tab of its own."""
        link = self._page.get_by_role("link", name=name, exact=True).first
        self._look_again_until_seen(link)
        with self._page.expect_popup() as opened:
            link.click()
        self._page = opened.value

    def open_latest(self) -> None:
        """Opens the latest version of the artifact whose versions are listed; it stands first."""
        self.follow(re.compile(r"^[0-9a-f]{8}$"))

    def open_artifact(self, key: str) -> None:
        """Opens an artifact of the run that is open, by its key."""
        self.tab("Artifacts")
        self._page.get_by_text(key, exact=True).first.click()
        # The way back to the key's other artifacts, which only the artifact's own page has.
        expect(self._page.get_by_role("link", name=key, exact=True).first).to_be_visible()

    def tab(self, name: str) -> None:
        """Opens a tab of the page."""
        self._page.get_by_text(name, exact=True).first.click()

    def keep(self, name: str) -> None:
        """Keeps a picture of the page for the README, where KEEP_SCREENSHOTS is set."""
        if os.environ.get("KEEP_SCREENSHOTS"):
            self._page.wait_for_timeout(1000)
            self._page.screenshot(path=_IMAGES / f"{name}.png")

    def _look_again_until_seen(self, wanted: Locator) -> None:
        # The UI asks the server for news at long intervals only.
        for attempt in Retrying(
            retry=retry_if_exception_type(AssertionError), stop=stop_after_delay(_PATIENCE_SECONDS), reraise=True
        ):
            with attempt:
                try:
                    expect(wanted).to_be_visible(timeout=2000)
                except AssertionError:
                    self._page.reload()
                    raise


@contextmanager
def open_ui(address: str) -> Iterator[PrefectUI]:
    """Opens a browser on the UI of a Prefect server.

    Args:
        address: Where the UI is.
    """
    expect.set_options(timeout=_PATIENCE_SECONDS * 1000)
    # As root, which CI often is, chromium starts without its own sandbox only.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=arguments)
        page = chromium.new_page(viewport={"width": 1280, "height": 920})
        page.set_default_timeout(_PATIENCE_SECONDS * 1000)
        yield PrefectUI(page, address)
        chromium.close()
