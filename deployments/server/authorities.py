"""The authorities that Prefect's clients trust: one is enough for a local server, which is spoken to in the clear."""

from itertools import takewhile
from pathlib import Path

import certifi

from bouncer.files.atomic_file import atomic_file

__all__ = ["one_authority"]

_END = "-----END CERTIFICATE-----"


def one_authority(home: Path) -> Path:
    """Writes a file with a single authority, for ``PREFECT_API_SSL_CERT_FILE``.

    Each client of Prefect's reads the whole file, whatever its server's address; a run makes some nine clients, and to
    read all authorities of the default takes 25 to 75 ms of a processor each time.

    Args:
        home: Where the file is kept.

    Returns:
        The file, which has the first authority of the default.
    """
    kept = home / "one-authority.pem"
    if not kept.is_file() or _END not in kept.read_text(encoding="utf-8", errors="replace"):
        # A company's own has comments in whatever encoding.
        with Path(certifi.where()).open(encoding="utf-8", errors="replace") as authorities, atomic_file(kept) as file:
            file.writelines(takewhile(lambda line: line.strip() != _END, authorities))
            file.write(f"{_END}\n")
    return kept
