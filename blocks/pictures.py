"""Pictures of block types in the Prefect UI."""

from prefect.settings import get_current_settings
from pydantic import HttpUrl

__all__ = ["picture"]

_OF_THE_UI = "ico/android-chrome-192x192.png"
_CDN = "https://cdn.sanity.io/images/3ugk85nk/production"


def picture(on_cdn: str) -> HttpUrl:
    """The picture of a block type: the one that a Prefect server hands out with its UI, which takes no internet.

    Args:
        on_cdn: The name of a picture where Prefect has those of its own types; for Prefect Cloud, whose users have the
            internet, and where no server is configured yet.
    """
    settings = get_current_settings()
    ui = settings.ui_url
    if not ui or ui.startswith(str(settings.cloud.ui_url)):
        return HttpUrl(f"{_CDN}/{on_cdn}")
    return HttpUrl(f"{ui.rstrip('/')}/{_OF_THE_UI}")
