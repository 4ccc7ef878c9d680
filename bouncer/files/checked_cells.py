"""Checks the cells of a column of addresses: which can be mailed to, and what had to be taken off them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from bouncer.addresses.normalisation import InvalidAddress, normalise_all
from bouncer.files.address_cells import addresses_in, take_address

__all__ = ["CheckedCells", "check_cells"]


@dataclass(frozen=True)
class CheckedCells:
    """Cells, each with its address or the reason why it has none.

    Attributes:
        addresses: A row for each cell, or for each address of one that was split: ``address`` (normalised), ``key``,
            ``domain``, ``reason`` (None for an address that can be mailed to), ``cell`` (its position).
        taken_off: Cells by what was taken off them, in words.
    """

    addresses: pd.DataFrame
    taken_off: Counter[str]


def check_cells(cells: Sequence[str], *, split: bool = False) -> CheckedCells:
    """Takes the addresses out of cells and normalises them.

    Args:
        cells: As the file has them.
        split: Makes of a cell with several addresses a row for each; otherwise it is no address.
    """
    positions: list[int] = []
    texts: list[str] = []
    refused: dict[int, str] = {}
    taken_off: Counter[str] = Counter()
    for position, cell in enumerate(cells):
        try:
            text, off = take_address(cell)
        except InvalidAddress as refusal:
            several = addresses_in(cell) if split else []
            if len(several) > 1:
                positions += [position] * len(several)
                texts += several
                taken_off["cells split"] += 1
                continue
            refused[len(texts)] = str(refusal)
            text, off = "", frozenset()
        positions.append(position)
        texts.append(text)
        taken_off.update(off)
    addresses = normalise_all(pd.Series(texts, dtype=object)).assign(cell=positions)
    for row, reason in refused.items():
        addresses.loc[row, "reason"] = reason
    return CheckedCells(addresses, taken_off)
