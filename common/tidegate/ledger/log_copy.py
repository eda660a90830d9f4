"""This side's copy of a channel's ledger: its entries as they came, one file for each run without a hole.

Files only grow; how much of each counts stands in the state (`witness_memory.Run`), so that what a crash wrote beyond
it is overwritten by the next bundle. Layout: docs/format/witness.md, "The receiver as witness".
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tidegate.errors import FormatError, LedgerDamagedError
from tidegate.files import host_error, make_folders, sync_fd, sync_folder, write_all_at
from tidegate.ledger.merkle import leaf_hash
from tidegate.ledger.proofs import Range
from tidegate.ledger.riding import RidingEntries
from tidegate.ledger.tiles import LENGTH_BYTES, build_bundle
from tidegate.ledger.witness_memory import Head, Memory, Run

RUNS_MAX = 64
_READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class LogCopy:
    """The copy in `folder`, ``witness/<channel id>``."""

    folder: Path

    def _path(self, run: Run) -> Path:
        return self.folder / f"{run.first:016d}.entries"

    # --- writing ------------------------------------------------------------------------------

    def add(self, memory: Memory, riding: RidingEntries) -> tuple[Run, ...]:
        """Write entries that are not here yet; the runs afterwards, for the state. Raises HostError, DiskFullError.

        A run goes on only from a remembered head, since those are what `riding` was compared with.
        """
        runs, known = memory.runs, {head.size for head in memory.heads}
        for run in runs:
            if run.first <= riding.first and riding.end <= run.end:
                return runs
        joined = next((run for run in runs if run.first <= riding.first <= run.end and run.end in known), None)
        if joined is None:
            nodes = tuple(node.hex() for node in riding.nodes)
            joined = Run(riding.first, riding.first, 0, nodes)
        data = build_bundle(riding.entries[joined.end - riding.first :])
        self._write(joined, data)
        grown = Run(joined.first, riding.end, joined.length + len(data), joined.nodes)
        others = [run for run in runs if run.first != grown.first and not self._is_within(run, grown)]
        return tuple(sorted((*others, grown), key=lambda run: run.first))[-RUNS_MAX:]

    @staticmethod
    def _is_within(run: Run, other: Run) -> bool:
        return other.first <= run.first and run.end <= other.end

    def _write(self, run: Run, data: bytes) -> None:
        path = self._path(run)
        try:
            make_folders(self.folder)
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                os.ftruncate(fd, run.length)
                write_all_at(fd, data, run.length)
                sync_fd(fd)
            finally:
                os.close(fd)
            sync_folder(self.folder)
        except OSError as error:
            raise host_error(error, f"writing {path}") from None

    def set_aside(self, runs: Iterable[Run], folder: Path) -> None:
        """Move the files of `runs` to `folder`. Raises HostError."""
        try:
            make_folders(folder, mode=0o700)
            for run in runs:
                if self._path(run).exists():
                    self._path(run).rename(folder / self._path(run).name)
            sync_folder(folder)
        except OSError as error:
            raise host_error(error, "setting a ledger's copy aside") from None

    # --- reading ------------------------------------------------------------------------------

    def entries(self, run: Run) -> Iterator[tuple[int, bytes]]:
        """(number, bytes) of a run's entries. Raises LedgerDamagedError where its file is not what the state has."""
        path = self._path(run)
        number, done, rest = run.first, 0, b""
        try:
            with path.open("rb") as file:
                while done < run.length:
                    piece = file.read(min(_READ_BYTES, run.length - done))
                    if not piece:
                        raise LedgerDamagedError(f"{path}: ends after {done} bytes, {run.length} are expected")
                    done += len(piece)
                    found, rest = _cut(rest + piece)
                    for data in found:
                        yield number, data
                        number += 1
        except OSError as error:
            raise host_error(error, f"reading {path}") from None
        if rest or number != run.end:
            raise LedgerDamagedError(f"{path}: holds entries {run.first} to {number - 1}, not to {run.end - 1}")

    def roots(self, runs: Iterable[Run], sizes: Iterable[int]) -> dict[int, bytes]:
        """The root of the log at each of `sizes` that a run reaches."""
        wanted = set(sizes)
        found: dict[int, bytes] = {}
        for run in runs:
            if not any(run.first <= size <= run.end for size in wanted - found.keys()):
                continue
            growing = _range_before(run)
            for _, data in self.entries(run):
                if growing.size in wanted and growing.size:
                    found[growing.size] = growing.root()
                growing.append(leaf_hash(data))
            if growing.size in wanted:
                found[growing.size] = growing.root()
        return found


def _cut(data: bytes) -> tuple[list[bytes], bytes]:
    """Whole entries, and what is left of one that goes on."""
    found, at = [], 0
    while at + LENGTH_BYTES <= len(data):
        end = at + LENGTH_BYTES + int.from_bytes(data[at : at + LENGTH_BYTES], "big")
        if end > len(data):
            break
        found.append(data[at + LENGTH_BYTES : end])
        at = end
    return found, data[at:]


def _range_before(run: Run) -> Range:
    try:
        return Range(run.first, [bytes.fromhex(node) for node in run.nodes])
    except (FormatError, ValueError):
        raise LedgerDamagedError(f"the state's nodes before entry {run.first} are damaged") from None


@dataclass(frozen=True, slots=True)
class CopyReport:
    """A copy in which nothing differs: entries that are here, of how many, and heads that they lead to.

    `heard` is the size of a head that only the last heartbeat told, 0 for none.
    """

    size: int
    held: int
    compared: tuple[str, ...]
    not_compared: tuple[str, ...]
    holes: tuple[tuple[int, int], ...]
    heads: int
    unlinked: tuple[int, ...]
    forks: tuple[int, ...]
    heard: int = 0


def verify_copy(copy: LogCopy, memory: Memory, outside: Sequence[Head] = ()) -> CopyReport:
    """Compute the root at every remembered size again; `outside` are checkpoints from elsewhere.

    Raises LedgerDamagedError, whose findings name each head that the entries do not give.
    """
    heads = (*memory.heads, *outside)
    found = copy.roots(memory.runs, (head.size for head in heads))
    findings = [
        f"at size {head.size} the entries here give {found[head.size].hex()[:16]}…,"
        f" {head.bundle or 'a proof'} said {head.root[:16]}…"
        for head in heads
        if head.size in found and found[head.size].hex() != head.root
    ]
    by_size = {head.size: head for head in memory.heads}
    findings += [
        f"{head.bundle}: size {head.size} has the root {head.root[:16]}…, {by_size[head.size].root[:16]}… is remembered"
        for head in outside
        if head.size in by_size and by_size[head.size].root != head.root and head.size not in found
    ]
    if findings:
        raise LedgerDamagedError("\n".join(findings), findings=tuple(findings))
    size = max((head.size for head in memory.heads if not head.is_heard), default=0)
    held = sum(run.end - run.first for run in memory.runs)
    reached = {*found, *by_size}
    return CopyReport(
        size,
        held,
        tuple(head.bundle for head in outside if head.size in reached),
        tuple(head.bundle for head in outside if head.size not in reached),
        _holes(memory.runs, size),
        len(found),
        tuple(head.size for head in memory.heads if not head.is_linked and not head.is_heard),
        tuple(head.size for head in memory.forks),
        max((head.size for head in memory.heads if head.is_heard), default=0),
    )


def _holes(runs: tuple[Run, ...], size: int) -> tuple[tuple[int, int], ...]:
    holes, at = [], 0
    for run in sorted(runs, key=lambda item: item.first):
        if run.first > at:
            holes.append((at, run.first - 1))
        at = max(at, run.end)
    if at < size:
        holes.append((at, size - 1))
    return tuple(holes)
