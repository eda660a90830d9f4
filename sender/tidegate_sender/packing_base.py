"""What the high side has already: the base of a bundle, as the person who packs names it.

Without a word the base is what return slips confirmed (`packing_confirmed`). ``--since BUNDLE`` names another: what
that bundle carried, what it built on, and what its own bases carried are left out of the new bundle, and each blob that
is left out stands in the required table with the number of the bundle that carried it, so that nothing hides. A base is
read from its ``.tgb``, held to the bundle_id that the state remembers.
"""

import contextlib
import gc
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import repeat
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tidegate.bundle.container import BundleFile
from tidegate.bundle.papers import PAPERS_ROOT, read_papers
from tidegate.bundle.tables import REQUIRED, Records, Tables
from tidegate.depot.descriptors import Descriptor
from tidegate.errors import BundleUnknownError, DepotError, TidegateError, UsageError
from tidegate.lookup import bundle_path
from tidegate.names import hex_of
from tidegate.state.bundles import BundleRow, BundleState, get_bundle

if TYPE_CHECKING:
    from tidegate.workspace import Workspace


@contextlib.contextmanager
def collector_paused() -> Iterator[None]:
    """Pause the garbage collector while a base is built: of a million blobs it would walk all again and again, which
    takes more than half of the time, and there is no cycle among them."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class Carried(NamedTuple):
    """A blob that an earlier bundle brought: in which size, by which bundle, and known from which base.

    A tuple, since there may be a million of them, and making one takes a third of the time.
    """

    size: int
    sequence: int
    base_id: str


def carried(
    digests: Iterable[bytes], sizes: Iterable[int], sequences: Iterable[int], base_id: str
) -> Iterator[tuple[bytes, Carried]]:
    """Pairs for `Base.blobs`, made without a step of Python's own for each: a million take a third of a second."""
    facts = zip(sizes, sequences, repeat(base_id), strict=False)
    return zip(digests, map(tuple.__new__, repeat(Carried), facts), strict=True)


@dataclass(frozen=True, slots=True)
class Base:
    """What is left out of a bundle. Empty: everything is brought."""

    blobs: dict[bytes, Carried] = field(default_factory=dict)

    @collector_paused()
    def split(self, blobs: Iterable[Descriptor]) -> "Selection":
        """Which of `blobs` are brought, in their order, and which are required. Raises DepotError for another size."""
        wanted = tuple(blobs)
        if not self.blobs:
            return Selection(wanted, ())
        keys = [bytes.fromhex(hex_of(blob.digest)) for blob in wanted]
        found = list(map(self.blobs.get, keys))
        for blob, known in zip(wanted, found, strict=True):
            if known is not None and known[0] != blob.size:
                raise DepotError(f"blob {blob.digest}: {blob.size} bytes, the base carried it with {known.size}")
        brought = tuple(blob for blob, known in zip(wanted, found, strict=True) if known is None)
        required = sorted(pair for pair in zip(keys, found, strict=True) if pair[1] is not None)
        return Selection(brought, tuple(required))  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Selection:
    """The blobs that a bundle brings, and those that it builds on (sorted by digest)."""

    brought: tuple[Descriptor, ...]
    required: tuple[tuple[bytes, Carried], ...]

    @property
    def required_size(self) -> int:
        return sum(carried.size for _, carried in self.required)

    @property
    def brought_size(self) -> int:
        return sum(blob.size for blob in self.brought)

    @property
    def base_ids(self) -> tuple[str, ...]:
        """The bundles that something of is required, sorted."""
        return tuple(sorted({carried.base_id for _, carried in self.required}))

    @collector_paused()
    def required_table(self) -> Records:
        """The required table of docs/format/bundle.md."""
        table = np.zeros(len(self.required), REQUIRED)
        if self.required:
            table["sha256"] = np.frombuffer(b"".join(key for key, _ in self.required), "V32")
            sizes, sequences, _ = zip(*(known for _, known in self.required), strict=True)
            table["size"], table["sequence"] = sizes, sequences
        return table


NO_BASE = Base()


@collector_paused()
def load_base(workspace: "Workspace", row: BundleRow, *, channel: str, epoch: int, below: int) -> Base:
    """The base that starts with the bundle of `row`, for a bundle of this channel with the number `below`.

    Raises UsageError for a bundle that cannot be a base, BundleUnknownError where its file is gone.
    """
    if row.channel_id != channel or row.detail.get("epoch") != epoch:
        raise UsageError(f"bundle {row.name} is of another channel or epoch: it cannot be a base")
    _check_base(row, below)
    blobs: dict[bytes, Carried] = {}
    waiting, seen = deque([row]), {row.bundle_id}
    while waiting:
        current = waiting.popleft()
        for base_id in _add(blobs, workspace, current, is_named=current is row):
            with workspace.state.reading() as tx:
                older = get_bundle(tx, base_id)
            # A base of a base may be forgotten: what it carried is then brought again.
            if base_id not in seen and older is not None:
                seen.add(base_id)
                waiting.append(older)
    return Base(blobs)


def _check_base(row: BundleRow, below: int) -> None:
    if row.state is BundleState.DISCARDED:
        raise UsageError(f"bundle {row.name} was discarded: it cannot be a base")
    if row.sequence >= below:
        raise UsageError(
            f"bundle {row.name} was not sent yet, and this pack replaces it: it cannot be its own base",
            hint="send it first, or name an older bundle",
        )


def _add(blobs: dict[bytes, Carried], workspace: "Workspace", row: BundleRow, *, is_named: bool) -> tuple[str, ...]:
    """Add what a bundle carried and built on; the ids of its own bases."""
    try:
        base_ids, tables = read_tables(workspace, row)
    except TidegateError:
        if is_named:
            raise
        return ()
    own = [row.sequence] * len(tables.blobs)
    for table, sequences in ((tables.blobs, own), (tables.required, tables.required["sequence"].tolist())):
        digests = table["sha256"].tobytes()
        for at, (size, sequence) in enumerate(zip(table["size"].tolist(), sequences, strict=True)):
            blobs.setdefault(digests[at * 32 : at * 32 + 32], Carried(size, sequence, row.bundle_id))
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
