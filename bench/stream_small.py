"""Many small bundles through one link, `tidegate outbox run` to `tidegate receive`: none may be lost; the rate.

    python bench/stream_small.py [--bundles 10000] [--kb 100] [--rate 1gbit] [--burst 5ms] [--synced]

The bundles wait already when the clock starts; it runs to the moment at which the last one is verified in quarantine.
Needs root for the namespaces (tests/support/wire.py). On tmpfs without sync, but with --synced.
"""

import argparse
import shutil

from many_crossing import Ends, cross
from measure import SEED, end_tidily, machine, scratch, table
from wire import why_not, wire

HEADS = ("bundles", "received", "wrong", "sender", "both sides", "MB/s of content", "CPU s sender + receiver")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--bundles", type=int, default=10_000)
    parser.add_argument("--kb", type=int, default=100)
    parser.add_argument("--rate", default="1gbit")
    parser.add_argument("--burst", default="5ms")
    parser.add_argument("--synced", action="store_true")
    given = parser.parse_args()
    if reason := why_not():
        raise SystemExit(reason)
    end_tidily()
    folder = scratch()
    options = ["--rate", given.rate, "--burst", given.burst, "--redundancy", "10%"]
    try:
        with wire(1500) as link:
            found = cross(Ends.of(link), folder / "one", given.bundles, given.kb * 1000, options,
                          seed=SEED, synced=given.synced)  # fmt: skip
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{machine()}; {given.kb} KB each, {given.rate}, burst {given.burst}{'; synced' if given.synced else ''}\n")
    print(f"The receiver's own counts: {found.losses}\n")
    for text in found.others[:5]:
        print(f"- {text}")
    rates = [f"{given.bundles / seconds:.0f} a second" for seconds in (found.sender_seconds, found.seconds)]
    speed = f"{found.received * given.kb / 1000 / found.seconds:.1f}"
    cpu = f"{found.sender_cpu:.0f} + {found.receiver_cpu:.0f}"
    row = (str(given.bundles), str(found.received), str(found.wrong), *rates, speed, cpu)
    table("Small bundles through one link", HEADS, [row])
    if not found.is_good:
        raise SystemExit("not all came whole")


if __name__ == "__main__":
    main()
