"""How a sender protects the parts of a bundle on a stream. Rules: docs/format/stream.md, "How a sender chooses".

Two questions have two answers. How many symbols of a block may be lost at random: `redundancy`, or `expected_loss` with
the least repair symbols that bear it. How long a burst may be: the interleaving, within the memory of both sides. A
reader takes what the announcement says.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from tidegate.carrier.announcement import CHUNKS
from tidegate.carrier.parts import FEWEST_REPAIRS, REDUNDANCY_MAX, SMALL_REPAIRS, SOURCE_COUNT
from tidegate.carrier.spans import Parts
from tidegate.carrier.stream.address import SYMBOL_ALIGNMENT
from tidegate.carrier.stream.header import HEADER_BYTES
from tidegate.erasure.geometry import CODEWORD_MAX_SYMBOLS, INTERLEAVE_MAX, SYMBOL_MIN_BYTES, PartGeometry
from tidegate.errors import UsageError
from tidegate.units import MIB

GROUP_BYTES = 48 * MIB  # of one group, sources and repairs: a receiver holds a few of them
#: memory that groups are cut for: a receiver holds up to four at a time (two arriving, one mended, one written)
DEFAULT_MEMORY_BYTES = 192 * MIB
GROUPS_IN_MEMORY = 4
BLOCK_LOSS_PROBABILITY = 1e-9
LOSS_MAX = 0.3  # beyond it half of what is sent would be repair symbols
BURST_REDUNDANCY_MAX = 0.25
INTERLEAVE_LEAST = 16
BODY_REDUNDANCY = 0.1  # cover and head have a tenth at least


@dataclass(frozen=True, slots=True)
class Protection:
    """What a stream is to bear; either `redundancy` (least repairs a source) or `expected_loss` (0 … 0.3) is given."""

    redundancy: float | None = None
    expected_loss: float | None = None
    burst_bytes: int = 0
    memory_bytes: int = DEFAULT_MEMORY_BYTES

    def __post_init__(self) -> None:
        if (self.redundancy is None) == (self.expected_loss is None):
            raise UsageError("a stream needs either a redundancy or an expected loss")
        if self.redundancy is not None and not 0 <= self.redundancy <= REDUNDANCY_MAX:
            raise UsageError(f"redundancy is {self.redundancy:g}, not within 0 … {REDUNDANCY_MAX:g}")
        if self.expected_loss is not None and not 0 <= self.expected_loss <= LOSS_MAX:
            raise UsageError(
                f"an expected loss of {self.expected_loss * 100:g} % is not within 0 … {LOSS_MAX * 100:g} %"
            )


def plan_stream_parts(
    lengths: tuple[int, int, int],
    payload_bytes: int,
    *,
    redundancy: float | None = None,
    expected_loss: float | None = None,
    burst_bytes: int = 0,
    memory: int = DEFAULT_MEMORY_BYTES,
) -> Parts:
    """The code of each part; `payload_bytes` is the largest symbol that fits into a datagram. Raises UsageError."""
    wanted = Protection(redundancy, expected_loss, burst_bytes, memory)
    cover, head, chunks = lengths
    return (
        _plan_part(cover, payload_bytes, wanted, BODY_REDUNDANCY),
        _plan_part(head, payload_bytes, wanted, BODY_REDUNDANCY),
        _plan_part(chunks, payload_bytes, wanted, 0.0),
    )


def _plan_part(length: int, payload_bytes: int, wanted: Protection, least: float) -> PartGeometry:
    aligned = -(-length // SYMBOL_ALIGNMENT) * SYMBOL_ALIGNMENT
    symbol_size = max(SYMBOL_MIN_BYTES, min(payload_bytes, aligned))
    symbols = max(1, -(-length // symbol_size))
    most, repairs = _code(symbols, wanted, least)
    shape = _find_shape(symbols, symbol_size, most, repairs, wanted)
    return PartGeometry(length, shape.sources, shape.repairs, symbol_size, shape.interleave)


@dataclass(frozen=True, slots=True)
class _Shape:
    """A choice: sources and repairs a block, blocks a group."""

    sources: int
    repairs: int
    interleave: int


def _find_shape(symbols: int, symbol_size: int, most: int, repairs: int, wanted: Protection) -> _Shape:
    """The shape that bears the burst in every group, also the last, at the least cost.

    First the interleaving is chosen for it, then blocks a little smaller, then more repairs: a group of bounded memory
    bears the burst of a fast link only so. Where even a quarter would not do, the shape without all this is taken, and
    the session is sent twice (`bears_burst`).
    """
    # Where no loss is expected a burst is still borne by repairs, rather than by sending everything twice.
    tried = max(repairs, 1) if wanted.burst_bytes and wanted.expected_loss is not None else repairs
    highest = int(max(repairs, BURST_REDUNDANCY_MAX * most))
    blocks = -(-symbols // max(1, most * 7 // 8))
    if wanted.burst_bytes > blocks * highest * (symbol_size + HEADER_BYTES):
        tried = 0  # not even all repairs together would do
    while tried and tried <= highest:
        cap = min(most, CODEWORD_MAX_SYMBOLS - tried)
        for sources in range(cap, max(1, cap * 7 // 8) - 1, -1):
            shape = _interleaved(symbols, symbol_size, sources, tried, wanted)
            if shape is not None:
                return shape
        tried += 1
    return _interleaved(symbols, symbol_size, most, repairs, wanted, demand_burst=False) or _Shape(most, repairs, 1)


def _interleaved(
    symbols: int, symbol_size: int, most: int, repairs: int, wanted: Protection, *, demand_burst: bool = True
) -> _Shape | None:
    """Blocks of at most `most` sources in groups that bear the burst, the smallest ones; None where none does."""
    blocks = -(-symbols // most)
    sources = -(-symbols // blocks)  # no more than the near-equal blocks have
    room = min(GROUP_BYTES, wanted.memory_bytes // GROUPS_IN_MEMORY) // ((sources + repairs) * symbol_size)
    largest = max(1, min(room, INTERLEAVE_MAX, blocks))
    needed = -(-wanted.burst_bytes // (max(1, repairs) * (symbol_size + HEADER_BYTES))) if demand_burst else 0
    if needed > largest:
        return None
    # A group of a few hundred symbols would cost more in looks than in bytes, whatever the burst.
    choices = np.arange(min(max(needed, INTERLEAVE_LEAST), largest) if demand_burst else largest // 2 + 1, largest + 1)
    last = blocks - (-(-blocks // choices) - 1) * choices
    if not demand_burst:
        return _Shape(sources, repairs, int(choices[np.argmax(last)]))
    fitting = choices[last >= max(needed, 1)]
    return _Shape(sources, repairs, int(fitting[0])) if len(fitting) else None


def _code(symbols: int, wanted: Protection, least: float) -> tuple[int, int]:
    """(most sources a block, repairs of every block) of a part of so many symbols, for random loss."""
    loss = wanted.expected_loss
    if loss is not None:
        most = CODEWORD_MAX_SYMBOLS - repairs_for_loss(loss)
    else:
        least = max(least, wanted.redundancy or 0.0)
        most = SOURCE_COUNT
    most = min(most, int(CODEWORD_MAX_SYMBOLS / (1 + least)))
    sources = -(-symbols // -(-symbols // most))  # as near-equal blocks have them
    repairs = math.ceil(sources * least - 1e-9)
    if loss:
        repairs = max(repairs, _repairs_for(sources, loss))
    if repairs:  # a share of few symbols is next to nothing
        repairs = max(repairs, min(SMALL_REPAIRS, max(FEWEST_REPAIRS, sources)))
    return most, min(repairs, CODEWORD_MAX_SYMBOLS - sources)


def bears_burst(parts: Parts, burst_bytes: int) -> bool:
    """Whether one sending bears a burst of this length wherever it falls. If not, the session is sent twice.

    Cover and head stand at both ends of a session, so only the chunks between them count, which must be there.
    """
    return borne_burst_bytes(parts[CHUNKS]) >= burst_bytes > 0


def repairs_for_loss(expected_loss: float) -> int:
    """The least repairs with which blocks of 255 symbols bear independent losses of this probability."""
    return next(
        repairs
        for repairs in range(CODEWORD_MAX_SYMBOLS)
        if failure_probability(CODEWORD_MAX_SYMBOLS, repairs, expected_loss) <= BLOCK_LOSS_PROBABILITY
    )


def _repairs_for(sources: int, expected_loss: float) -> int:
    return next(
        repairs
        for repairs in range(CODEWORD_MAX_SYMBOLS - sources + 1)
        if sources + repairs == CODEWORD_MAX_SYMBOLS
        or failure_probability(sources + repairs, repairs, expected_loss) <= BLOCK_LOSS_PROBABILITY
    )


def borne_loss(source_count: int, repair_count: int) -> float:
    """The largest random loss that a block bears with a failure probability of 1e-9: what a setting really means."""
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        fails = failure_probability(source_count + repair_count, repair_count, middle)
        low, high = (middle, high) if fails <= BLOCK_LOSS_PROBABILITY else (low, middle)
    return low


def borne_burst_bytes(geometry: PartGeometry) -> int:
    """The longest run of lost bytes that is mended in every group of the part, wherever it lies."""
    if not geometry.length:
        return 0
    last = len(geometry.group_blocks(geometry.group_count - 1))
    return last * geometry.repair_count * (geometry.symbol_size + HEADER_BYTES)


@lru_cache(maxsize=4096)
def failure_probability(symbols: int, repairs: int, loss: float) -> float:
    """The probability that more than `repairs` of `symbols` are lost, each with the probability `loss`."""
    if loss <= 0:
        return 0.0
    if loss >= 1:
        return float(symbols > repairs)
    tail = 0.0
    for lost in range(symbols, repairs, -1):  # smallest first
        tail += math.exp(
            math.lgamma(symbols + 1)
            - math.lgamma(lost + 1)
            - math.lgamma(symbols - lost + 1)
            + lost * math.log(loss)
            + (symbols - lost) * math.log1p(-loss)
        )
    return tail
