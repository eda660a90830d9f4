"""The volumes of one bundle on a medium as one source of symbols, read no more than is needed."""

from tidegate.carrier.announcement import Announcement
from tidegate.carrier.parts import JoinedSource, SymbolSource
from tidegate.carrier.reader import VolumeReader
from tidegate.erasure.buffer import GroupBuffer


class SparingSource:
    """A volume whose runs of repair symbols are left alone as long as nothing is missing."""

    def __init__(self, reader: VolumeReader) -> None:
        self.reader = reader

    @property
    def announcement(self) -> Announcement:
        return self.reader.announcement

    def groups(self, part: int) -> tuple[int, ...]:
        return self.reader.groups(part)

    def read_group(self, part: int, group: int, buffer: GroupBuffer) -> None:
        self.reader.read_group(part, group, buffer, repairs=False)

    def read_whole_group(self, part: int, group: int, buffer: GroupBuffer) -> None:
        """With all repairs: what is needed to tell wrong symbols from right ones."""
        self.reader.read_group(part, group, buffer)


def join_volumes(readers: tuple[VolumeReader, ...]) -> SymbolSource:
    """One source of several volumes of a bundle; the first one's cover counts."""
    sources = tuple(SparingSource(reader) for reader in readers)
    return sources[0] if len(sources) == 1 else JoinedSource(sources)
