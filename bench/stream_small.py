"""Many small bundles through one link, `tidegate outbox run` to `tidegate receive`: none may be lost; the rate.

    python bench/stream_small.py [--bundles 10000] [--kb 100] [--rate 1gbit] [--burst 5ms] [--synced]

The bundles wait already when the clock starts; it runs to the moment at which the last one is verified in quarantine.
Needs root for the namespaces (tests/support/wire.py). On tmpfs without sync, but with --synced.
"""

import argparse
import json
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread

from contenders import PORT, Finished, environment
from many_bundles import count_wrong_bytes, make_waiting
from measure import SEED, TIDEGATE, machine, make_pair, scratch, table
from wire import Wire, why_not, wire

SILENCE_SECONDS = 10.0
HEADS = ("bundles", "received", "wrong blobs", "sender", "both", "MB/s of content", "CPU s sender + receiver")


@dataclass
class Came:
    """What the receiver said, and when."""

    outcomes: list[dict] = field(default_factory=list)
    at: list[float] = field(default_factory=list)
    is_ready: bool = False

    def read(self, stream: Iterable[str]) -> None:
        for line in stream:
            self.is_ready = True
            event = json.loads(line)
            if event.get("outcome"):
                self.outcomes.append(event)
                self.at.append(time.monotonic())

    @property
    def received(self) -> int:
        return len({event["bundle_id"] for event in self.outcomes if event["outcome"] == "received"})


def cross(link: Wire, low: Path, high: Path, count: int, options: list[str], *, synced: bool) -> dict:
    url, outbox = link.address(PORT), low.parent / "outbox"
    outbox.mkdir(exist_ok=True)
    receiver = Finished(link.high(TIDEGATE, "receive", url, "--json"), stdout=subprocess.PIPE, text=True,
                        env=environment(high, synced=synced))  # fmt: skip
    came = Came()
    Thread(target=came.read, args=(receiver.process.stdout,), daemon=True).start()
    while not came.is_ready:
        time.sleep(0.05)
    time.sleep(0.3)
    command = [TIDEGATE, "outbox", "run", str(outbox), "--to", url, "--until-empty", "--canary", "0s", *options]
    started = time.monotonic()
    sender = Finished(link.low(*command, "--json"), stdout=subprocess.DEVNULL,
                      env=environment(low, synced=synced))  # fmt: skip
    sender.wait(24 * 3600)
    last, seen = time.monotonic(), came.received
    while came.received < count and time.monotonic() - last < SILENCE_SECONDS:
        time.sleep(0.1)
        if came.received != seen:
            last, seen = time.monotonic(), came.received
    receiver.process.send_signal(signal.SIGTERM)
    receiver.wait(30)
    receiver.stop()
    return {
        "received": came.received,
        "others": [event for event in came.outcomes if event["outcome"] != "received"],
        "sender_seconds": sender.ended_at - started,
        "seconds": (came.at[-1] if came.at else time.monotonic()) - started,
        "cpu": (sender.cpu, receiver.cpu),
        "code": sender.code,
    }


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
    folder = scratch()
    try:
        low, high = make_pair(folder)
        with wire(1500) as link:
            make_waiting(low, link.address(PORT), given.bundles, given.kb * 1000, seed=SEED)
            options = ["--rate", given.rate, "--burst", given.burst, "--redundancy", "10%"]
            found = cross(link, low, high, given.bundles, options, synced=given.synced)
            lost = link.counts().lost
        blobs, wrong = count_wrong_bytes(high)
        print(f"{machine()}; {given.kb} KB each, {given.rate}, burst {given.burst};"
              f" {lost} packets lost on the wire{'; synced' if given.synced else ''}\n")  # fmt: skip
        for event in found["others"][:5]:
            print(f"- {event}")
        rates = [f"{given.bundles / found[key]:.0f} a second" for key in ("sender_seconds", "seconds")]
        speed = f"{found['received'] * given.kb / 1000 / found['seconds']:.1f}"
        cpu = f"{found['cpu'][0]:.0f} + {found['cpu'][1]:.0f}"
        row = (str(given.bundles), f"{found['received']}", f"{wrong} of {blobs}", *rates, speed, cpu)
        table("Small bundles through one link", HEADS, [row])
        if found["received"] < given.bundles or wrong:
            raise SystemExit("not all came whole")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
