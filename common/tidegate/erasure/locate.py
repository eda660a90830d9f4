"""Find symbols that are present but wrong, the rare and slow case.

Normally a digest beside each symbol tells which ones are damaged, and they are erasures. Where a block was complete by
those digests and its chunks are wrong all the same, somebody forged them, or the digests missed something. The engine
then finds the byte columns that are no codewords, `reedsolo` locates the errors of a few of these columns, and the
symbols named are treated as erasures. It is no authentication: a forger can write a valid codeword.
"""

import time

import numpy as np
from numpy.typing import NDArray

from tidegate.erasure.buffer import GroupBuffer
from tidegate.erasure.engine import Engine, Rows
from tidegate.erasure.field import Matrix
from tidegate.erasure.matrices import decode_rows, parity_matrix
from tidegate.errors import TamperedError

BUNDLE_BUDGET_SECONDS = 60.0
COLUMNS_PER_PASS = 16  # columns that reedsolo is tried on before the block is given up
CHECK_PIECE_BYTES = 65536  # columns checked at a time, so that the results of 254 checks take at most 16 MiB


class LocationBudget:
    """Seconds that error location may take, for all blocks of a bundle together."""

    def __init__(self, seconds: float = BUNDLE_BUDGET_SECONDS) -> None:
        self.remaining_seconds = seconds

    def spend(self, seconds: float) -> None:
        self.remaining_seconds -= seconds

    @property
    def is_spent(self) -> bool:
        return self.remaining_seconds <= 0


def locate_wrong_symbols(
    buffer: GroupBuffer, block_position: int, erasures: tuple[int, ...], engine: Engine, budget: LocationBudget
) -> tuple[int, ...]:
    """The indices of the wrong symbols of a block; empty where what arrived is consistent.

    `erasures` are the symbols that did not arrive (`BlockReport.erasures`): what mending wrote into their slots is no
    evidence. The caller marks erasures and wrong symbols as not present, mends again, and checks the chunks' digests:
    with as many of them as repairs no check is left here. In any one column up to half of the spare repairs can be
    wrong. Raises TamperedError where the symbols cannot be located in the budget.
    """
    return _Search(buffer, block_position, erasures, engine, budget).run()


class _Search:
    """The search in one block: `erased` grows by each symbol found wrong."""

    def __init__(
        self, buffer: GroupBuffer, position: int, erasures: tuple[int, ...], engine: Engine, budget: LocationBudget
    ) -> None:
        self.buffer = buffer
        self.engine = engine
        self.budget = budget
        self.block = buffer.geometry.group_blocks(buffer.group)[position]
        self.source_count = buffer.source_counts[position]
        self.repair_count = buffer.geometry.repair_count
        self.sources = buffer.source_offsets(position)
        self.repairs = buffer.repair_offsets(position)
        self.received = frozenset(range(self.source_count + self.repair_count)) - frozenset(erasures)
        self.erasures = frozenset(erasures)
        self.erased = set(erasures)

    def run(self) -> tuple[int, ...]:
        if len(self.erased) >= self.repair_count:
            raise self._give_up("no repair symbol is left to check with")
        while len(self.erased) < self.repair_count:
            columns = self._timed_wrong_columns()
            if not len(columns):
                break
            self.erased |= self._locate(columns)
        if len(self.erased) > self.repair_count:
            raise self._give_up("more symbols are wrong than it has repair symbols")
        return tuple(sorted(self.erased - self.erasures))

    def _timed_wrong_columns(self) -> NDArray[np.intp]:
        started = time.monotonic()
        columns = self._wrong_columns()
        self.budget.spend(time.monotonic() - started)
        return columns

    def _wrong_columns(self) -> NDArray[np.intp]:
        """Columns where the symbols that still count do not agree with each other."""
        matrix, offsets = self._checks()
        plan = self.engine.plan(matrix)
        size = self.buffer.geometry.symbol_size
        width = min(size, CHECK_PIECE_BYTES)
        results = np.empty((matrix.shape[0], width), np.uint8)
        targets = Rows(results.reshape(-1), np.arange(matrix.shape[0], dtype=np.int64) * width)
        wrong = []
        for start in range(0, size, width):
            count = min(width, size - start)
            self.engine.multiply(plan, Rows(self.buffer.memory, offsets + start), targets, count)
            wrong.append(np.flatnonzero(results[:, :count].any(axis=0)) + start)
        return np.concatenate(wrong)

    def _checks(self) -> tuple[Matrix, NDArray[np.int64]]:
        """Check rows over (sources, with chosen repairs in the place of erased ones; the other repairs), and offsets.

        Each row is zero for every codeword: it adds a repair symbol to what the sources say that it should be.
        """
        parity = parity_matrix(self.source_count, self.repair_count)
        erased_sources = np.array(sorted(number for number in self.erased if number < self.source_count), np.intp)
        usable = np.array(
            [number for number in range(self.repair_count) if number + self.source_count not in self.erased], np.intp
        )
        chosen, others = usable[: len(erased_sources)], usable[len(erased_sources) :]
        rows, offsets = parity[others], self.sources.copy()
        if len(erased_sources):
            decode = decode_rows(self.engine, parity, erased_sources, chosen)
            mixed = rows[:, erased_sources]
            rows[:, erased_sources] = 0
            rows ^= self.engine.product(mixed, decode)
            offsets[erased_sources] = self.repairs[chosen]
        matrix = np.hstack([rows, np.eye(len(others), dtype=np.uint8)])
        return matrix, np.concatenate([offsets, self.repairs[others]])

    def _locate(self, columns: NDArray[np.intp]) -> set[int]:
        """Wrong symbols, not known yet, by the first of some `columns` that can be decoded."""
        picks = np.linspace(0, len(columns) - 1, min(len(columns), COLUMNS_PER_PASS)).astype(np.intp)
        for column in columns[picks].tolist():
            if self.budget.is_spent:
                raise self._give_up("the time for locating wrong symbols is used up")
            started = time.monotonic()
            found = self._decode_column(column) - self.erased
            self.budget.spend(time.monotonic() - started)
            if found:
                return found
        raise self._give_up("wrong symbols cannot be told from right ones")

    def _decode_column(self, column: int) -> set[int]:
        """The wrong symbols of one column by reedsolo; empty where it cannot be decoded."""
        import reedsolo

        offsets = np.concatenate([self.sources, self.repairs]) + column
        codeword = self.buffer.memory[offsets].tobytes()
        try:
            _, _, positions = reedsolo.RSCodec(self.repair_count).decode(codeword, erase_pos=sorted(self.erasures))
        except (reedsolo.ReedSolomonError, ZeroDivisionError):
            return set()
        found = {int(position) for position in positions} & self.received
        # Beyond half of the spare repairs every answer is a guess, and reedsolo does give one with a single spare.
        return found if 2 * len(found) <= self.repair_count - len(self.erasures) else set()

    def _give_up(self, why: str) -> TamperedError:
        return TamperedError(f"block {self.block}: {why}")
