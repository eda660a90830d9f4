"""What the high side has already: the base of a bundle, as the person who packs names it.

Without a word the base is what return slips confirmed (`packing.confirmed`). ``--since BUNDLE`` names another: what
that bundle carried, what it built on, and what its own bases carried are left out of the new bundle, and each blob that
is left out stands in the required table with the number of the bundle that carried it, so that nothing hides. A base is
read from its ``.tgb``, held to the bundle_id that the state remembers.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from tidegate.bundle.container import BundleFile
from tidegate.bundle.digests import are_rising, column_of, heads_of, places_of, sorting_order
from tidegate.bundle.papers import PAPERS_ROOT, read_papers
from tidegate.bundle.tables import REQUIRED, Records, Tables, keys
from tidegate.depot.descriptors import Descriptor
from tidegate.errors import BundleUnknownError, DepotError, TidegateError, UsageError
from tidegate.lookup import bundle_path
from tidegate.state.bundles import BundleRow, BundleState, get_bundle

if TYPE_CHECKING:
    from tidegate.workspace import Workspace


class Piece(NamedTuple):
    """What one bundle, or a baseline, tells of blobs: records as in the required table, and its id."""

    records: Records
    base_id: str


@dataclass(frozen=True, slots=True, eq=False)
class Base:
    """What is left out of a bundle. Empty: everything is brought.

    Columns and no objects: a million blobs are 60 MB.
    """

    #: as the required table: sorted by digest, each once
    records: Records = field(default_factory=lambda: np.zeros(0, REQUIRED))
    #: for each record, the place in `base_ids` of what tells of it
    origins: NDArray[np.uint32] = field(default_factory=lambda: np.zeros(0, np.uint32))
    base_ids: tuple[str, ...] = ()

    @classmethod
    def of(cls, pieces: Sequence[Piece]) -> Self:
        """Of what several tell: the first one that tells of a blob counts."""
        if not pieces:
            return cls()
        names = tuple(piece.base_id for piece in pieces)
        lengths = [len(piece.records) for piece in pieces]
        origins = np.repeat(np.arange(len(pieces), dtype=np.uint32), lengths)
        telling = [piece.records for piece in pieces if len(piece.records)]
        records = telling[0] if len(telling) == 1 else np.concatenate([pieces[0].records[:0], *telling])
        if are_rising(heads_of(records)):
            return cls(records, origins, names)
        order = sorting_order(keys(records))  # stable: what comes first stays first
        records, origins = records[order], origins[order]
        is_first = np.ones(len(records), np.bool_)
        is_first[1:] = keys(records)[1:] != keys(records)[:-1]
        return cls(records[is_first], origins[is_first], names)

    def pieces(self) -> tuple[Piece, ...]:
        """What it was made of, as far as it counted: to make another one with more."""
        return tuple(Piece(self.records[self.origins == at], name) for at, name in enumerate(self.base_ids))

    def split(self, blobs: Iterable[Descriptor]) -> "Selection":
        """Which of `blobs` are brought, in their order, and which are required. Raises DepotError for another size."""
        wanted = tuple(blobs)
        if not len(self.records) or not wanted:
            return Selection(wanted)
        column = column_of([blob.digest for blob in wanted])
        order = sorting_order(column)  # looked up in their order the digests lie side by side: ten times as fast
        found = places_of(column[order], self.records)
        required, places = found[found >= 0], order[found >= 0]
        sizes = np.array([blob.size for blob in wanted], np.uint64)
        wrong = sizes[places] != self.records["size"][required]
        if wrong.any():
            blob, known = wanted[places[wrong][0]], int(self.records["size"][required[wrong][0]])
            raise DepotError(f"blob {blob.digest}: {blob.size} bytes, the base carried it with {known}")
        is_brought = np.ones(len(wanted), np.bool_)
        is_brought[places] = False
        brought = tuple(compress(wanted, is_brought.tolist()))
        named = sorted({self.base_ids[at] for at in np.unique(self.origins[required]).tolist()})
        return Selection(brought, self.records[required], tuple(named))


def as_required(table: Records, sequence: int) -> Records:
    """What a bundle with that number carried, as records of the required table."""
    records = np.empty(len(table), REQUIRED)
    records["sha256"], records["size"], records["sequence"] = table["sha256"], table["size"], sequence
    return records


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """The blobs that a bundle brings, and those that it builds on: its required table (docs/format/bundle.md)."""

    brought: tuple[Descriptor, ...]
    required: Records = field(default_factory=lambda: np.zeros(0, REQUIRED))
    #: the bundles that something of is required, sorted
    base_ids: tuple[str, ...] = ()

    @property
    def required_size(self) -> int:
        return int(self.required["size"].sum())

    @property
    def brought_size(self) -> int:
        return sum(blob.size for blob in self.brought)


NO_BASE = Base()


def load_base(workspace: "Workspace", row: BundleRow, *, channel: str, epoch: int, below: int) -> Base:
    """The base that starts with the bundle of `row`, for a bundle of this channel with the number `below`.

    Raises UsageError for a bundle that cannot be a base, BundleUnknownError where its file is gone.
    """
    if row.channel_id != channel or row.detail.get("epoch") != epoch:
        raise UsageError(f"bundle {row.name} is of another channel or epoch: it cannot be a base")
    _check_base(row, below)
    pieces: list[Piece] = []
    waiting, seen = deque([row]), {row.bundle_id}
    while waiting:
        current = waiting.popleft()
        for base_id in _add(pieces, workspace, current, is_named=current is row):
            with workspace.state.reading() as tx:
                older = get_bundle(tx, base_id)
            # A base of a base may be forgotten: what it carried is then brought again.
            if base_id not in seen and older is not None:
                seen.add(base_id)
                waiting.append(older)
    return Base.of(pieces)


def _check_base(row: BundleRow, below: int) -> None:
    if row.state is BundleState.DISCARDED:
        raise UsageError(f"bundle {row.name} was discarded: it cannot be a base")
    if row.sequence >= below:
        raise UsageError(
            f"bundle {row.name} was not sent yet, and this pack replaces it: it cannot be its own base",
            hint="send it first, or name an older bundle",
        )


def _add(pieces: list[Piece], workspace: "Workspace", row: BundleRow, *, is_named: bool) -> tuple[str, ...]:
    """Add what a bundle carried and built on; the ids of its own bases."""
    try:
        base_ids, tables = read_tables(workspace, row)
    except TidegateError:
        if is_named:
            raise
        return ()
    pieces += [Piece(as_required(tables.blobs, row.sequence), row.bundle_id), Piece(tables.required, row.bundle_id)]
    return base_ids


def read_tables(workspace: "Workspace", row: BundleRow) -> tuple[tuple[str, ...], Tables]:
    """The ids of a bundle's bases, and its tables. Raises BundleUnknownError where file and papers are gone."""
    path = bundle_path(workspace, row)
    if path is None or not path.is_file():
        papers = workspace.root / PAPERS_ROOT / row.bundle_id
        if papers.is_dir():  # `cleanup` took the file and kept what it carried
            manifest, tables = read_papers(papers, row.bundle_id)
            return manifest.base, tables
        raise BundleUnknownError(
            f"bundle {row.name}: its file is not here any more, so it cannot be a base",
            hint="name another bundle, or pack everything",
        )
    with BundleFile.open(path) as bundle:
        if bundle.bundle_id != row.bundle_id:
            raise BundleUnknownError(f"{path}: is bundle {bundle.bundle_id[:16]}, not {row.bundle_id[:16]}")
        return bundle.manifest().base, bundle.tables()
