"""Many bundles through one link: `tidegate outbox run --until-empty` to `tidegate receive`, and what came of them."""

import json
import random
import signal
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from contenders import PORT, Finished, environment, sha256
from many_bundles import make_waiting
from measure import MIB, TIDEGATE, make_pair
from wire import Wire

SILENCE_SECONDS = 10.0
SO_TIMESTAMPNS = 35


@dataclass(frozen=True)
class Ends:
    """How each side's commands are run, and the addresses that they are given."""

    low: Callable[..., list[str]]
    high: Callable[..., list[str]]
    send_to: str
    receive_at: str

    @classmethod
    def of(cls, link: Wire) -> "Ends":
        return cls(link.low, link.high, link.address(PORT), link.address(PORT))


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


@dataclass(frozen=True)
class Result:
    """One run. Wrong are blobs in quarantine that are not what their name says; others are outcomes but "received"."""

    count: int
    received: int
    wrong: int
    mended: int
    others: tuple[str, ...]
    sender_seconds: float
    seconds: float
    sender_cpu: float
    receiver_cpu: float
    losses: str

    @property
    def is_good(self) -> bool:
        return self.received == self.count and not self.wrong


def cross(ends: Ends, folder: Path, count: int, size: int, options: list[str], *, seed: int, synced: bool) -> Result:
    """Make a pair of roots in `folder`, let `count` bundles of `size` bytes wait, and send them."""
    folder.mkdir()
    low, high = make_pair(folder)
    make_waiting(low, ends.send_to, count, size, seed=seed)
    outbox = folder / "outbox"
    outbox.mkdir()
    receiver = Finished(ends.high(TIDEGATE, "receive", ends.receive_at, "--json"), stdout=subprocess.PIPE,
                        stderr=subprocess.DEVNULL, text=True, env=environment(high, synced=synced))  # fmt: skip
    came = Came()
    threading.Thread(target=came.read, args=(receiver.process.stdout,), daemon=True).start()
    while not came.is_ready and receiver.code is None:
        time.sleep(0.05)
    time.sleep(0.3)
    command = [TIDEGATE, "outbox", "run", str(outbox), "--to", ends.send_to, "--until-empty", "--canary", "0s"]
    started = time.monotonic()
    sender = Finished(ends.low(*command, *options, "--json"), stdout=subprocess.DEVNULL,
                      stderr=subprocess.DEVNULL, env=environment(low, synced=synced))  # fmt: skip
    sender.wait(24 * 3600)
    last, seen = time.monotonic(), came.received
    while came.received < count and time.monotonic() - last < SILENCE_SECONDS:
        time.sleep(0.1)
        if came.received != seen:
            last, seen = time.monotonic(), came.received
    received_at = came.at[-1] if came.at else time.monotonic()
    receiver.process.send_signal(signal.SIGTERM)
    receiver.wait(30)
    receiver.stop()
    blobs = list((high / "quarantine").glob("*/blobs/sha256/*"))
    received = [event for event in came.outcomes if event["outcome"] == "received"]
    others = [f"{e['bundle']}: {e['outcome']}: {e.get('error', '')}" for e in came.outcomes if e not in received]
    return Result(
        count, came.received, sum(sha256(path) != path.name for path in blobs) + abs(len(blobs) - came.received),
        sum(event["damaged_places"] for event in received), tuple(others), sender.ended_at - started,
        received_at - started, sender.cpu, receiver.cpu, receiver_losses(high),
    )  # fmt: skip


def receiver_losses(high: Path) -> str:
    """What the listener counted as lost, and where."""
    (status,) = (json.loads(path.read_bytes()) for path in (high / "links").glob("*.json"))
    counts = status["counts"]
    names = ("lost_on_wire", "lost_in_kernel", "lost_for_memory", "sessions_put_off", "bundles_incomplete")
    return ", ".join(f"{name} {counts[name]}" for name in names)


class GapRelay:
    """A one-way relay on loopback that loses everything for `gap` seconds now and then: a burst by time.

    By the kernel's time of arrival, so that it does not matter when this process had its turn.
    """

    def __init__(self, gap: float, every: float, seed: int) -> None:
        self.gap, self.every = gap, every
        self._random = random.Random(seed)
        self._inside, self._outside = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        self._inside.setsockopt(socket.SOL_SOCKET, 33, 64 * MIB)  # SO_RCVBUFFORCE
        self._inside.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self._inside.settimeout(0.2)
        self._inside.bind(("127.0.0.1", 0))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            self.to_port = probe.getsockname()[1]
        self._outside.connect(("127.0.0.1", self.to_port))
        self._is_over = False
        self.lost = self.gaps = 0

    def _run(self) -> None:
        begin = time.time() + self.every
        was_hit = False
        while not self._is_over:
            try:
                datagram, control, _, _ = self._inside.recvmsg(65536, 64)
            except TimeoutError:
                continue
            seconds, nanoseconds = struct.unpack("=qq", control[0][2])
            now = seconds + nanoseconds / 1e9
            if now >= begin + self.gap:
                begin = now + self._random.uniform(0.5, 1.5) * self.every
                self.gaps += was_hit
                was_hit = False
            if begin <= now < begin + self.gap:
                self.lost, was_hit = self.lost + 1, True
                continue
            with suppress(OSError):
                self._outside.send(datagram)

    @contextmanager
    def running(self) -> Iterator[Ends]:
        thread = threading.Thread(target=self._run)
        thread.start()
        plain = lambda *arguments: list(arguments)  # noqa: E731
        try:
            at = f"udp://127.0.0.1:{self._inside.getsockname()[1]}"
            yield Ends(plain, plain, at, f"udp://127.0.0.1:{self.to_port}")
        finally:
            self._is_over = True
            thread.join()
            self._inside.close()
            self._outside.close()
