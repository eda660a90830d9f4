"""The erasure code alone on one core, from memory to memory: `python bench/erasure.py`.

Encode makes R repair symbols a block; mend fills R missing source symbols of every block, each block with losses of its
own, inversion included. Speeds count source bytes. Peers do the same work. RaptorQ cannot have symbols of 64 KiB: it
gets packets of 60,000 bytes, a block as large as ours, and 1,440 bytes beside ours of that size; it mends R - 3 losses
in K, since now and then it needs a packet or two more than a perfect code would.
"""

import os
import random
import statistics
import time
from collections.abc import Callable

import numpy as np
from measure import MIB, machine, table

from tidegate.erasure.buffer import GroupBuffer
from tidegate.erasure.codec import GroupCodec
from tidegate.erasure.engine import Engine
from tidegate.erasure.geometry import PartGeometry
from tidegate.erasure.isal import IsalEngine
from tidegate.erasure.numpy_engine import NumpyEngine

CODES = ((64, 16), (200, 20), (200, 55), (32, 4))
SYMBOL_BYTES = 65536
STREAM_SYMBOL_BYTES = 1440  # the payload of a datagram
SOURCE_BYTES = 48 * MIB  # more than caches hold
PEER_BYTES = 16 * MIB
RAPTORQ_LARGE_BYTES = 60_000
ROUNDS = 5
TARGETS_MB = {"ISA-L": 3000, "numpy": 130}  # K=64 R=16
RANDOM = random.Random(20261121)

Action = Callable[[], float]  # does the work once, and says how many source bytes a second


def ours(engine: Engine, source_count: int, repair_count: int, symbol_size: int, total: int) -> tuple[Action, Action]:
    """(encode, mend) of one group of about `total` source bytes, in this thread alone."""
    blocks = min(255, max(1, total // (source_count * symbol_size)))
    geometry = PartGeometry(blocks * source_count * symbol_size, source_count, repair_count, symbol_size, blocks)
    buffer, codec = GroupBuffer(geometry), GroupCodec(geometry, engine, threads=1)
    buffer.bind(0)
    buffer.source_view()[:] = RANDOM.randbytes(geometry.length)
    codec.encode(buffer)

    def encode() -> float:
        return rate(geometry.length, lambda: codec.encode(buffer))

    def mend() -> float:
        for position in range(blocks):
            buffer.present[position, RANDOM.sample(range(source_count), min(repair_count, source_count))] = False
        return rate(geometry.length, lambda: codec.mend(buffer))

    return encode, mend


def raptorq_peer(source_count: int, repair_count: int, packet_bytes: int) -> tuple[Action, Action]:
    import raptorq

    size = source_count * packet_bytes

    def encoded() -> list[bytes]:
        # A header of 4 bytes is not counted in its maximum.
        return raptorq.Encoder.with_defaults(data, packet_bytes).get_encoded_packets(repair_count)

    def decode(kept: list[bytes]) -> None:
        decoder = raptorq.Decoder.with_defaults(size, packet_bytes)
        if all(decoder.decode(packet) is None for packet in kept):
            raise SystemExit("raptorq did not decode")

    data = RANDOM.randbytes(size)
    everything = encoded()

    def mend() -> float:
        lost = set(RANDOM.sample(range(source_count), min(source_count, max(1, repair_count - 3))))
        kept = [packet for number, packet in enumerate(everything) if number not in lost]
        return rate(size, lambda: decode(kept))

    return lambda: rate(size, encoded), mend


def zfec_peer(source_count: int, repair_count: int) -> tuple[Action, Action]:
    import zfec

    total = source_count + repair_count
    blocks = max(1, PEER_BYTES // (source_count * SYMBOL_BYTES))
    sources = [tuple(RANDOM.randbytes(SYMBOL_BYTES) for _ in range(source_count)) for _ in range(blocks)]
    encoder, decoder = zfec.Encoder(source_count, total), zfec.Decoder(source_count, total)
    numbers = tuple(range(source_count, total))
    repairs = [encoder.encode(block, numbers) for block in sources]
    size = blocks * source_count * SYMBOL_BYTES

    def mend_all(losses: list[list[int]]) -> None:
        for block, repair, lost in zip(sources, repairs, losses, strict=True):
            shares, places = list(block), list(range(source_count))
            for place, number, share in zip(lost, numbers, repair, strict=False):
                shares[place], places[place] = share, number
            decoder.decode(tuple(shares), tuple(places))

    def mend() -> float:
        losses = [RANDOM.sample(range(source_count), min(repair_count, source_count)) for _ in sources]
        return rate(size, lambda: mend_all(losses))

    return lambda: rate(size, lambda: [encoder.encode(block, numbers) for block in sources]), mend


def copy_rate() -> float:
    source = np.frombuffer(RANDOM.randbytes(SOURCE_BYTES), np.uint8)
    target = np.empty_like(source)
    return statistics.median(rate(SOURCE_BYTES, lambda: np.copyto(target, source)) for _ in range(ROUNDS + 1))


def rate(size: int, work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return size / (time.perf_counter() - started)


def medians(pairs: dict[str, tuple[Action, Action]]) -> dict[str, tuple[float, float]]:
    """The median of each action, run in turn after a round that is not counted."""
    runs: dict[str, list[tuple[float, float]]] = {name: [] for name in pairs}
    for turn in range(ROUNDS + 1):
        for name, (encode, mend) in pairs.items():
            result = encode(), mend()
            if turn:
                runs[name].append(result)
    return {
        name: (statistics.median(e for e, _ in run), statistics.median(m for _, m in run)) for name, run in runs.items()
    }


def contenders(source_count: int, repair_count: int) -> dict[str, tuple[Action, Action]]:
    isal, code = IsalEngine.load(), (source_count, repair_count)
    pairs = {
        "ISA-L": ours(isal, *code, SYMBOL_BYTES, SOURCE_BYTES),
        "numpy": ours(NumpyEngine(), *code, SYMBOL_BYTES, PEER_BYTES),
        "ISA-L, 1,440 B symbols": ours(isal, *code, STREAM_SYMBOL_BYTES, PEER_BYTES),
    }
    peers: dict[str, Callable[[], tuple[Action, Action]]] = {
        "raptorq wheel, 60,000 B": lambda: raptorq_peer(*code, RAPTORQ_LARGE_BYTES),
        "raptorq wheel, 1,440 B": lambda: raptorq_peer(*code, STREAM_SYMBOL_BYTES),
        "zfec wheel, 64 KiB": lambda: zfec_peer(*code),
    }
    for name, peer in peers.items():
        try:
            pairs[name] = peer()
        except ImportError:
            print(f"{name}: not installed, left out\n")
    return pairs


def rows_of(code: tuple[int, int], results: dict[str, tuple[float, float]]) -> list[tuple[str, ...]]:
    isal_encode, isal_mend = results["ISA-L"]
    rows = []
    for name, (encode, mend) in results.items():
        target = TARGETS_MB.get(name) if code == CODES[0] else None
        met = f"{target} MB/s: {'met' if min(encode, mend) >= target * 1e6 else 'MISSED'}" if target else ""
        ratios = f"{isal_encode / encode:.1f}", f"{isal_mend / mend:.1f}"
        rows.append((name, f"{encode / 1e6:.0f}", f"{mend / 1e6:.0f}", *ratios, met))
    return rows


def main() -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    print(f"One core of: {machine()}. Symbols of 64 KiB where no size is given.")
    print(f"Plain copy of memory, for comparison: {copy_rate() / 1e6:.0f} MB/s.\n")
    heads = (
        "engine",
        "encode MB/s",
        "mend R erasures MB/s",
        "ISA-L encodes × as fast",
        "ISA-L mends × as fast",
        "target",
    )
    for code in CODES:
        table(f"K={code[0]} R={code[1]}", heads, rows_of(code, medians(contenders(*code))))


if __name__ == "__main__":
    main()
