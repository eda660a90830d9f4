"""Symbols of one copy of a bundle: a source that may leave out what is not wanted, and counts what it lacks."""

from typing import Protocol

from tidegate.carrier.announcement import Announcement
from tidegate.carrier.parts import SymbolSource
from tidegate.erasure.buffer import GroupBuffer


class CopySource(SymbolSource, Protocol):
    """A source that can leave out the repairs of a group, or its sources, and counts what it should have had."""

    def read_group(
        self, part: int, group: int, buffer: GroupBuffer, *, repairs: bool = True, sources: bool = True
    ) -> None:
        """As SymbolSource. `repairs` and `sources` say what is wanted; to give more of them is no fault."""

    @property
    def symbols_damaged(self) -> int:
        """Symbols that were asked for and should be there, and that were unreadable or wrong."""

    @property
    def files_missing(self) -> int:
        """Files of the copy that are not there; 0 for a carrier without files."""


class PlainSource:
    """Any source of symbols as the source of a copy: it gives all that it has of a group, whatever is wanted."""

    symbols_damaged = 0
    files_missing = 0

    def __init__(self, source: SymbolSource) -> None:
        self.source = source

    @property
    def announcement(self) -> Announcement:
        return self.source.announcement

    def groups(self, part: int) -> tuple[int, ...]:
        return self.source.groups(part)

    def read_group(
        self, part: int, group: int, buffer: GroupBuffer, *, repairs: bool = True, sources: bool = True
    ) -> None:
        self.source.read_group(part, group, buffer)
