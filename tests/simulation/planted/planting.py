"""Planting a fault: the text of a module is changed when it is imported."""

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType

from tests.simulation.plan import Plan

__all__ = ["Planted", "plant"]

_ROOT = Path(__file__).parents[3]


@dataclass(frozen=True)
class Planted:
    """A fault in the code.

    Attributes:
        name: What is wrong, in words.
        module: Where.
        old: The text that stands there, exactly once.
        new: What it is changed to.
        also: Further such texts of the module, where one change alone is made good by another place.
        shows_in: In which plans it can show at all, if not in any; the others are counted, and not played.
    """

    name: str
    module: str
    old: str
    new: str
    also: tuple[tuple[str, str], ...] = ()
    shows_in: Callable[[Plan], bool] = lambda _: True

    @property
    def file(self) -> Path:
        """The file of the module."""
        return (_ROOT / self.module.replace(".", "/")).with_suffix(".py")

    def patched(self, source: str) -> str:
        """Changes the text of the module.

        Raises:
            ValueError: The text does not stand there exactly once, so that the fault is out of date.
        """
        for old, new in ((self.old, self.new), *self.also):
            if source.count(old) != 1:
                raise ValueError(f"{self.name!r}: its text stands {source.count(old)} times in {self.module}")
            source = source.replace(old, new)
        return source


class _Loader(importlib.machinery.SourceFileLoader):
    def __init__(self, fault: Planted, path: str) -> None:
        super().__init__(fault.module, path)
        self._fault = fault

    def get_code(self, fullname: str) -> CodeType:
        source = self._fault.patched(self.get_data(self.path).decode())
        code: CodeType = compile(source, self.path, "exec", dont_inherit=True)
        return code


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, fault: Planted) -> None:
        self._fault = fault

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._fault.module:
            return None
        found = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if found is None or found.origin is None:
            return None
        return importlib.util.spec_from_file_location(fullname, found.origin, loader=_Loader(self._fault, found.origin))


def plant(fault: Planted) -> None:
    """Plants a fault in a module that this process has not imported yet.

    Raises:
        ValueError: It has.
    """
    if fault.module in sys.modules:
        raise ValueError(f"{fault.module} is imported already")
    sys.meta_path.insert(0, _Finder(fault))
