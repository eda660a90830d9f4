"""Whether bundles come whole: random losses with the redundancy that `--expected-loss` chose, bursts, small bundles.

    python bench/stream_whole.py [--bundles 20] [--mib 32] [--small 200] [--rate 1gbit] [--quick]

Losses are made on a wire of real single packets (tests/support/wire.py, needs root); a burst by time for small bundles,
between whose two sendings there is a pause, by a relay on loopback that loses everything for 5 ms at 100 Mbit/s.
A wrong byte would be a blob in quarantine that is not what its digest says; each one is read and hashed again here.
"""

import argparse
import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from many_crossing import Ends, GapRelay, Result, cross
from measure import MIB, SEED, end_tidily, machine, scratch, table
from wire import why_not, wire

HEADS = ("what is lost", "bundles", "whole", "wrong bytes", "lost on the wire", "repaired", "told otherwise", "MB/s")
SMALL_BYTES = 100_000
PACKET_BYTES = 1500
BURST_SECONDS = 0.005
RELAY_RATE = "100mbit"


def bytes_a_second(rate: str) -> float:
    from tidegate_sender.stream.pacing import parse_rate

    return parse_rate(rate)


def row(name: str, found: Result, size: int, lost: int) -> tuple[str, ...]:
    speed = found.received * size / found.seconds / 1e6
    return (name, f"{found.count} of {size / MIB:.1f} MiB", f"{found.received} of {found.count}", str(found.wrong),
            str(lost), str(found.mended), str(len(found.others)), f"{speed:.0f}")  # fmt: skip


class Trials:
    """All rows, each in roots of its own that are removed after it."""

    def __init__(self, folder: Path, given: argparse.Namespace) -> None:
        self.folder, self.given = folder, given
        self.is_good = True
        self._number = 0

    def run(self, ends: Ends, count: int, size: int, protection: list[str], rate: str) -> Result:
        self._number += 1
        folder = self.folder / str(self._number)
        options = ["--rate", rate, "--mtu", str(PACKET_BYTES), *protection]
        try:
            found = cross(ends, folder, count, size, options, seed=SEED + self._number, synced=False)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        for text in found.others[:3]:
            print(f"- {text}")
        self.is_good &= found.is_good
        return found

    def random_losses(self) -> Iterator[tuple[str, ...]]:
        size = self.given.mib * MIB
        for percent in (0.1, 1.0, 5.0):
            with wire(PACKET_BYTES, loss_percent=percent) as link:
                protection = ["--expected-loss", f"{percent:g}%"]
                found = self.run(Ends.of(link), self.given.bundles, size, protection, self.given.rate)
                yield row(f"{percent:g} % at random", found, size, link.counts().lost)

    def bursts(self) -> Iterator[tuple[str, ...]]:
        """By packets: while the sender sends without a pause, so many packets in a row are so long a gap."""
        at_rate = round(BURST_SECONDS * bytes_a_second(self.given.rate) / PACKET_BYTES)
        cases = [
            ("100 packets in a row of each 10,000", 100, 10_000, self.given.bundles, self.given.mib * MIB),
            ("100 packets in a row of each 1,000", 100, 1_000, self.given.small, SMALL_BYTES),
            (f"5 ms at the rate: {at_rate} packets of each 10,000", at_rate, 10_000, self.given.bundles,
             self.given.mib * MIB),
        ]  # fmt: skip
        for name, burst, every, count, size in cases:
            with wire(PACKET_BYTES, burst=burst, every=every) as link:
                found = self.run(Ends.of(link), count, size, ["--redundancy", "10%"], self.given.rate)
                yield row(name, found, size, link.counts().lost)

    def gaps(self) -> Iterator[tuple[str, ...]]:
        """By time: 5 ms in which nothing passes, some 50 ms apart."""
        relay = GapRelay(BURST_SECONDS, 10 * BURST_SECONDS, SEED)
        with relay.running() as ends:
            found = self.run(ends, self.given.small, SMALL_BYTES, ["--redundancy", "10%"], RELAY_RATE)
        yield row(f"5 ms at {RELAY_RATE}, {relay.gaps} times", found, SMALL_BYTES, relay.lost)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--bundles", type=int, default=20)
    parser.add_argument("--mib", type=int, default=32)
    parser.add_argument("--small", type=int, default=200)
    parser.add_argument("--rate", default="1gbit")
    parser.add_argument("--quick", action="store_true", help="4 bundles of 8 MiB and 40 small ones")
    given = parser.parse_args()
    if given.quick:
        given.bundles, given.mib, given.small = 4, 8, 40
    if reason := why_not():
        raise SystemExit(reason)
    end_tidily()
    folder = scratch()
    trials = Trials(folder, given)
    rows: list[tuple[str, ...]] = []
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        for part in (trials.random_losses, trials.bursts, trials.gaps):
            rows += part()
    print(f"{machine()}; {given.rate}, MTU {PACKET_BYTES}\n")
    table("Whole through losses", HEADS, rows)
    if not trials.is_good:
        raise SystemExit("not all came whole")


if __name__ == "__main__":
    main()
