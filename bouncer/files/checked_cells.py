"""Checks the cells of a column of addresses: which can be mailed to, and what had to be taken off them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from bouncer.addresses.normalisation import InvalidAddress, address_key, domain_of, normalise
from bouncer.files.address_cells import addresses_in, take_address

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["CheckedAddress", "CheckedCells", "check_cells"]


class CheckedAddress(NamedTuple):
    """An address of a cell, or the reason why there is none.

    Attributes:
        address: Normalised; empty, as key and domain, where there is a reason.
        key: By which equal addresses find each other.
        domain: The part after the @.
        reason: None for an address that can be mailed to.
        cell: The position of its cell.
        written: The address as its cell had it, where its domain is not in ASCII; else normalised.
    """

    address: str
    key: bytes
    domain: str
    reason: str | None
    cell: int
    written: str


@dataclass(frozen=True)
class CheckedCells:
    """Cells, each with its address or the reason why it has none.

    Attributes:
        addresses: One for each cell, or for each address of one that was split, in order.
        taken_off: Cells by what was taken off them, in words.
    """

    addresses: list[CheckedAddress]
    taken_off: Counter[str]

    def frame(self) -> "pd.DataFrame":
        """Makes a frame of the addresses, with a column for each attribute; None where there is a reason instead."""
        import pandas as pd

        rows = [one if one.reason is None else (None, None, None, one.reason, one.cell, None) for one in self.addresses]
        return pd.DataFrame(rows, columns=CheckedAddress._fields, dtype=object).astype({"cell": int})


def check_cells(cells: Sequence[str], *, split: bool = False) -> CheckedCells:
    """Takes the addresses out of cells and normalises them.

    Args:
        cells: As the file has them.
        split: Makes of a cell with several addresses a row for each; otherwise it is no address.
    """
    addresses: list[CheckedAddress] = []
    taken_off: Counter[str] = Counter()
    for position, cell in enumerate(cells):
        try:
            text, off = take_address(cell)
        except InvalidAddress as refusal:
            several = addresses_in(cell) if split else []
            if len(several) > 1:
                addresses += [_check(text, position) for text in several]
                taken_off["cells split"] += 1
            else:
                addresses.append(_refused(refusal, position))
            continue
        addresses.append(_check(text, position))
        taken_off.update(off)
    return CheckedCells(addresses, taken_off)


def _check(text: str, cell: int) -> CheckedAddress:
    try:
        address = normalise(text)
    except InvalidAddress as refusal:
        return _refused(refusal, cell)
    written = address if domain_of(text).isascii() else text
    return CheckedAddress(address, address_key(address), domain_of(address), None, cell, written)


def _refused(refusal: InvalidAddress, cell: int) -> CheckedAddress:
    return CheckedAddress("", b"", "", str(refusal), cell, "")
