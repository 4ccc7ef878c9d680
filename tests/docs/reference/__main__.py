"""Writes the reference: ``python -m tests.docs.reference``."""

from tests.docs.reference.pages import FOLDER, PAGES, render


def main() -> None:
    """Writes every page, and removes what is none."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for page in FOLDER.glob("*.md"):
        if page.name not in PAGES:
            page.unlink()
    for name in PAGES:
        (FOLDER / name).write_text(render(name))


if __name__ == "__main__":
    main()
