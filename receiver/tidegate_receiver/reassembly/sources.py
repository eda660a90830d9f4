"""The copies of one bundle as sources of symbols, read no more than is needed.

Copies with one code fill each other symbol by symbol, together with what earlier media left (`symbol_store`); between
codes only whole chunks pass, which is the reassembly's work.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from tidegate.carrier.announcement import CHUNKS, Announcement
from tidegate.carrier.parts import JoinedSource, SymbolSource, is_among, is_mendable
from tidegate.erasure.buffer import GroupBuffer
from tidegate_receiver.reassembly.copies import CopySource
from tidegate_receiver.reassembly.symbol_store import SymbolRows, SymbolStore


@runtime_checkable
class UnlistedReader(Protocol):
    """A copy that can tell where records lie though nothing is left that lists them."""

    def read_unlisted(self, group: int, buffer: GroupBuffer) -> int: ...


class SparingSource:
    """A copy whose repair symbols are left alone as long as nothing is missing."""

    def __init__(self, reader: CopySource) -> None:
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


@runtime_checkable
class ArrivingCopy(CopySource, Protocol):
    """A copy whose groups of the chunks cannot be asked for: they come in their own time, and once."""

    def arrivals(self, groups: Collection[int]) -> Iterator[GroupBuffer]:
        """Each of `groups` that comes, in memory that is good until the next one is asked for."""


class CodeSource:
    """All copies at hand whose chunks have one code, and what of it was kept from earlier ones."""

    def __init__(self, readers: tuple[CopySource, ...], store: SymbolStore | None = None) -> None:
        self.readers = readers
        self.store = store
        self.announcement = readers[0].announcement
        self.is_striped = any(reader.announcement.is_striped for reader in readers)
        self._others = join_copies(readers)
        own = set().union(*(reader.groups(CHUNKS) for reader in readers))
        kept = store.groups() if store is not None else ()
        self._own_groups = frozenset(own)
        self._groups = tuple(sorted(own | _touching(own, kept)))

    def groups(self, part: int) -> tuple[int, ...]:
        """The groups that may be there; of what was kept only what lies beside the groups of these copies."""
        return self._groups if part == CHUNKS else self._others.groups(part)

    def is_own(self, group: int) -> bool:
        """Whether `group` of the chunks lies in these copies, and not only among what was kept."""
        return group in self._own_groups

    def read_group(self, part: int, group: int, buffer: GroupBuffer) -> None:
        if part != CHUNKS:
            self._others.read_group(part, group, buffer)
            return
        if self.store is not None:
            self.store.read_group(group, buffer)
        readers = [reader for reader in self.readers if is_among(reader.groups(CHUNKS), group)]
        shares = [reader for reader in readers if reader.announcement.is_striped]
        _read_from(readers, buffer, at_once=len(shares) > 1, repairs=False)
        _read_from(shares, buffer, at_once=_lacks_a_share(buffer, len(shares)), sources=False)

    def read_whole_group(self, part: int, group: int, buffer: GroupBuffer) -> None:
        """With all repairs of all copies; what was kept only where they do not suffice."""
        for reader in self.readers:
            if is_among(reader.groups(part), group):
                reader.read_group(part, group, buffer)
        if self.store is not None and part == CHUNKS and not is_mendable(buffer):
            self.store.read_group(group, buffer)

    def read_unlisted(self, group: int, buffer: GroupBuffer) -> int:
        """Records that no index block of their copy lists, by their place alone; how many there were."""
        holders = [reader for reader in self.readers if is_among(reader.groups(CHUNKS), group)]
        return sum(reader.read_unlisted(group, buffer) for reader in holders if isinstance(reader, UnlistedReader))

    # --- for another medium -------------------------------------------------------------------

    def keep(self, group: int, buffer: GroupBuffer, symbols: NDArray[np.bool_]) -> None:
        """Keep what `buffer` holds of a group of which something is missing, as far as there is room."""
        if self.store is not None:
            self.store.keep(group, buffer, symbols)

    def save_kept(self) -> None:
        if self.store is not None:
            self.store.save()


class WireCodeSource(CodeSource):
    """One session of a stream, and what was kept of its code from earlier ones: its groups come in their own time."""

    def __init__(self, reader: "ArrivingCopy", store: SymbolStore | None = None) -> None:
        super().__init__((reader,), store)
        self.wire = reader

    def arrivals(self, groups: Collection[int]) -> Iterator[GroupBuffer]:
        """Those of `groups` that are kept whole, then what comes, with what was kept of it."""
        left = set(groups)
        for buffer in self.kept_of(groups):
            if is_mendable(buffer):
                left.discard(buffer.group)
                yield buffer
        for buffer in self.wire.arrivals(left):
            if self.store is not None and not is_mendable(buffer):
                self.store.read_group(buffer.group, buffer)
            yield buffer

    def kept_of(self, groups: Collection[int]) -> Iterator[GroupBuffer]:
        """What is kept of `groups`, in memory of its own: what came before must not wait for what comes now."""
        wanted = set(groups)
        kept = [group for group in self.store.groups() if group in wanted] if self.store is not None else []
        if not kept or self.store is None:
            return
        buffer = GroupBuffer(self.announcement.geometry(CHUNKS))
        for group in kept:
            buffer.bind(group)
            self.store.read_group(group, buffer)
            yield buffer

    def keep_rows(self, rows: SymbolRows) -> None:
        """Keep symbols that were cut out of a group."""
        if self.store is not None:
            self.store.keep_rows(rows)


def _read_from(readers: list[CopySource], buffer: GroupBuffer, *, at_once: bool, **which: bool) -> None:
    """Read the bound group of the chunks from `readers` until it can be mended; or from all of them at once."""
    if at_once and not is_mendable(buffer):
        # Each stick has a port of its own, and fills slots that no other one fills.
        with ThreadPoolExecutor(len(readers), "sticks") as pool:
            list(pool.map(lambda reader: reader.read_group(CHUNKS, buffer.group, buffer, **which), readers))
        return
    for reader in readers:
        if is_mendable(buffer):
            return
        reader.read_group(CHUNKS, buffer.group, buffer, **which)


def _lacks_a_share(buffer: GroupBuffer, shares: int) -> bool:
    """Whether the repairs of one of so many shares would not suffice: some stick is not there."""
    lacking = max(
        need - have for have, need in zip(buffer.present.sum(axis=1).tolist(), buffer.source_counts, strict=True)
    )
    return shares > 1 and lacking > buffer.geometry.repair_count // shares


def _touching(own: set[int], kept: tuple[int, ...]) -> set[int]:
    """Those of `kept` that hang together with `own`: a chunk may reach over the edge of a volume."""
    reached = set(own)
    for groups in (kept, reversed(kept)):
        for group in groups:
            if group - 1 in reached or group + 1 in reached:
                reached.add(group)
    return reached & set(kept)


def join_copies(readers: Sequence[CopySource]) -> SymbolSource:
    """One source of several copies of a bundle; the first one's cover counts."""
    sources = tuple(SparingSource(reader) for reader in readers)
    return sources[0] if len(sources) == 1 else JoinedSource(sources)


def sources_by_code(
    readers: tuple[CopySource, ...], make_store: Callable[[Announcement], SymbolStore | None]
) -> tuple[CodeSource, ...]:
    """One source for each code of the chunks, in the order of the copies."""
    if len(readers) == 1 and isinstance(readers[0], ArrivingCopy):
        return (WireCodeSource(readers[0], make_store(readers[0].announcement)),)
    by_code: dict[object, list[CopySource]] = {}
    for reader in readers:
        by_code.setdefault(reader.announcement.parts[CHUNKS], []).append(reader)
    return tuple(CodeSource(tuple(alike), make_store(alike[0].announcement)) for alike in by_code.values())
