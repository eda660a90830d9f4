"""Who sends a file through the wire in bench/stream.py: ours, the peers, plain C as the machine's ceiling.

Each is run as its user would run it, receiver first, in the namespaces of tests/support/wire.py. The clock runs from
the first datagram at the receiver's interface to the word of the receiver that all is there (for a peer: its end).
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests" / "support"))

from measure import TIDEGATE, tidegate  # noqa: E402
from wire import HIGH_ADDRESS, LOW_ADDRESS, Wire  # noqa: E402

LIMIT_SECONDS = 60.0
PORT = 5300
#: prints when the first datagram came in, by the clock that all processes of a machine share
WATCH = """
import sys, time
counter = open("/sys/class/net/vhigh/statistics/rx_packets")
def packets():
    counter.seek(0)
    return int(counter.read())
before = packets()
print("ready", flush=True)
while packets() == before:
    time.sleep(0.0005)
print(time.monotonic(), flush=True)
"""


@dataclass(frozen=True, slots=True)
class Case:
    """One row: the wire, and the file that crosses it."""

    mtu: int
    loss_percent: float
    file: Path
    digest: str
    synced: bool = False

    @property
    def size(self) -> int:
        return self.file.stat().st_size


@dataclass(frozen=True, slots=True)
class Crossing:
    """One try. `seconds` counts only where `is_whole`; CPU seconds and peak MiB of each side."""

    is_whole: bool
    seconds: float
    sender_cpu: float
    receiver_cpu: float
    receiver_mib: float
    sender_mib: float
    note: str = ""


class Contender(Protocol):
    """One program with one setting for a case."""

    name: str

    def why_not(self, case: Case) -> str:
        """Why it cannot take part; empty where it can."""

    def cross(self, wire: Wire, case: Case) -> Crossing: ...


class Finished:
    """A process with its resources, waited for in a thread of its own so that both sides can be told apart."""

    def __init__(self, command: list[str], **options: object) -> None:
        self.process = subprocess.Popen(command, **options)  # type: ignore[call-overload]
        self.ended_at = 0.0
        self.cpu = self.mib = 0.0
        self.code: int | None = None
        self._thread = threading.Thread(target=self._wait, daemon=True)
        self._thread.start()

    def _wait(self) -> None:
        _, status, usage = os.wait4(self.process.pid, 0)
        self.ended_at = time.monotonic()
        self.cpu, self.mib = usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024
        self.code = self.process.returncode = os.waitstatus_to_exitcode(status)

    def wait(self, seconds: float) -> bool:
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def stop(self) -> None:
        if self._thread.is_alive():
            self.process.terminate()
            if not self.wait(10):
                self.process.kill()
                self.wait(10)


class FirstDatagram:
    """Notes when the first datagram reached the receiver's interface."""

    def __init__(self, wire: Wire) -> None:
        self.process = subprocess.Popen(wire.high(sys.executable, "-c", WATCH), stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.process.stdout.readline()

    def at(self) -> float:
        """Monotonic seconds; 0 where none came."""
        try:
            output, _ = self.process.communicate(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return 0.0
        return float(output.strip() or 0)


def _through_files(
    wire: Wire, case: Case, receive: list[str], send: list[str], *, settle: float = 0.7, stdin: bool = True
) -> Crossing:
    """A peer that writes what it received to standard output and ends when it has all."""
    first = FirstDatagram(wire)
    with tempfile.TemporaryDirectory(dir=case.file.parent) as folder:
        out = Path(folder) / "out"
        with out.open("wb") as sink, case.file.open("rb") as source:
            receiver = Finished(wire.high(*receive), stdout=sink, stderr=subprocess.DEVNULL)
            time.sleep(settle)
            sender = Finished(wire.low(*send), stdin=source if stdin else None, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)  # fmt: skip
            came = receiver.wait(LIMIT_SECONDS if not sender.wait(LIMIT_SECONDS) else 8)
            ended = receiver.ended_at if came else time.monotonic()
            for process in (sender, receiver):
                process.stop()
        whole = came and out.stat().st_size == case.size and sha256(out) == case.digest
    return Crossing(whole, ended - first.at(), sender.cpu, receiver.cpu, receiver.mib, sender.mib)


def sha256(path: Path) -> str:
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


class Lidi:
    """lidi's one-shot pair, built from its own source: LIDI_BIN is the folder with its programs."""

    def __init__(self, *, repair: int | None = None, batch: int = 64, threads: int = 2) -> None:
        self.name = "lidi"
        self.options = ["--batch", str(batch)] + (["--repair", str(repair)] if repair is not None else [])
        self.threads = threads

    def _program(self, name: str) -> str | None:
        return shutil.which(name, path=os.environ.get("LIDI_BIN", "") + ":" + os.environ["PATH"])

    def why_not(self, case: Case) -> str:
        return "" if self._program("diode-oneshot-send") else "not installed: build it from its source, set LIDI_BIN"

    def cross(self, wire: Wire, case: Case) -> Crossing:
        at, threads = f"{HIGH_ADDRESS}:{PORT}", str(self.threads)
        receive = [str(self._program("diode-oneshot-receive")), "--from", at, "--from-mtu", str(case.mtu)]
        send = [str(self._program("diode-oneshot-send")), "--to", at, "--to-mtu", str(case.mtu)]
        return _through_files(
            wire, case, [*receive, "--decode-threads", threads, *self.options],
            [*send, "--encode-threads", threads, *self.options],
        )  # fmt: skip


class Pydiode:
    """pydiode of PyPI: PYDIODE is its program, else it is looked for in PATH."""

    def __init__(self, *, bits_per_second: int, redundancy: int) -> None:
        self.name = "pydiode"
        self.options = ["--max-bitrate", str(bits_per_second), "--redundancy", str(redundancy)]
        self.program = os.environ.get("PYDIODE") or shutil.which("pydiode")

    def why_not(self, case: Case) -> str:
        return "" if self.program else "not installed: pip install pydiode, set PYDIODE"

    def cross(self, wire: Wire, case: Case) -> Crossing:
        program = str(self.program)
        return _through_files(
            wire, case, [program, "receive", HIGH_ADDRESS], [program, "send", *self.options, HIGH_ADDRESS, LOW_ADDRESS]
        )


class Udpcast:
    """udpcast of Debian, one way: `--async` with its own forward error correction."""

    def __init__(self, *, bits_per_second: int, fec: str = "8x8/128") -> None:
        self.name = "udpcast"
        self.rate, self.fec = f"{bits_per_second // 1_000_000}m", fec

    def why_not(self, case: Case) -> str:
        return "" if shutil.which("udp-sender") else "not installed (Debian: udpcast)"

    def cross(self, wire: Wire, case: Case) -> Crossing:
        interface = ["--nokbd", "--no-progress", "--mcast-rdv-address", HIGH_ADDRESS, "--interface"]
        receive = ["udp-receiver", *interface, "vhigh", "--rcvbuf", str(256 << 20), "--exit-wait", "0"]
        send = ["udp-sender", *interface, "vlow", "--async", "--autostart", "1", "--rexmit-hello-interval", "100"]
        send += ["--mcast-data-address", HIGH_ADDRESS, "--fec", self.fec, "--max-bitrate", self.rate]
        send += ["--file", str(case.file)]
        return _through_files(wire, case, receive, send, settle=1.0, stdin=False)


class Ceiling:
    """Plain C with the same offloads, which does nothing with the bytes."""

    name = "plain C, bytes thrown away"

    def __init__(self, program: Path) -> None:
        self.program = str(program)

    def why_not(self, case: Case) -> str:
        return "drops nothing on purpose" if case.loss_percent else ""

    def cross(self, wire: Wire, case: Case) -> Crossing:
        receiver = subprocess.Popen(wire.high(self.program, "receive", str(PORT)), stdout=subprocess.PIPE, text=True)
        assert receiver.stdout is not None
        receiver.stdout.readline()
        datagram = case.mtu - 28
        sender = Finished(wire.low(self.program, "send", HIGH_ADDRESS, str(PORT), str(datagram), str(case.size), "0"),
                          stdout=subprocess.DEVNULL)  # fmt: skip
        output, _ = receiver.communicate(timeout=LIMIT_SECONDS)
        sender.wait(5)
        taken, seconds = output.split()
        share = int(taken) / case.size
        return Crossing(share > 0.5, float(seconds) / share, sender.cpu, 0.0, 0.0, sender.mib, f"{share:.0%} taken")


class Tidegate:
    """Ours: a bundle that is packed already, into the quarantine of a fresh high side."""

    def __init__(
        self, low: Path, high: Path, make_rate: Callable[[Case], str], *, protection: list[str], bundle: str = "1"
    ) -> None:
        self.name = "tidegate"
        self.low, self.high, self.bundle = low, high, bundle
        self.make_rate, self.protection = make_rate, protection

    def why_not(self, case: Case) -> str:
        return ""

    def cross(self, wire: Wire, case: Case) -> Crossing:
        with tempfile.TemporaryDirectory(dir=case.file.parent) as folder:
            high = Path(folder) / "high"
            shutil.copytree(self.high, high, symlinks=True)
            return self._cross(wire, case, high)

    def _cross(self, wire: Wire, case: Case, high: Path) -> Crossing:
        url = wire.address(PORT)
        first = FirstDatagram(wire)
        receiver = Finished(wire.high(TIDEGATE, "receive", url, "--json"), stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, env=environment(high, synced=case.synced))  # fmt: skip
        outcomes: list[tuple[float, dict]] = []
        ready = threading.Event()
        done = threading.Event()

        def read() -> None:
            for line in receiver.process.stdout:
                ready.set()
                event = json.loads(line)
                if event.get("outcome"):
                    outcomes.append((time.monotonic(), event))
                    done.set()

        threading.Thread(target=read, daemon=True).start()
        notes: list[str] = []
        threading.Thread(target=lambda: notes.extend(receiver.process.stderr), daemon=True).start()
        ready.wait(10)
        time.sleep(0.3)
        send = wire.low(TIDEGATE, "send", self.bundle, url, "--rate", self.make_rate(case), *self.protection, "--json")
        sender = Finished(
            send, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment(self.low, synced=case.synced)
        )
        sender.wait(LIMIT_SECONDS)
        done.wait(20)
        at, outcome = outcomes[0] if outcomes else (time.monotonic(), {"outcome": "nothing came"})
        for process in (sender, receiver):
            process.stop()
        whole = outcome["outcome"] == "received" and self._is_same(high, case)
        note = "" if whole else f"{outcome} {''.join(notes)[-300:]}"
        return Crossing(whole, at - first.at(), sender.cpu, receiver.cpu, receiver.mib, sender.mib, note)

    def _is_same(self, high: Path, case: Case) -> bool:
        """Whether what lies in quarantine has the blobs that were packed: each was verified, and as many bytes came."""
        blobs = [path for path in (high / "quarantine").glob("*/blobs/sha256/*") if path.stat().st_size > 1 << 20]
        return sum(path.stat().st_size for path in blobs) >= case.size and all(sha256(p) == p.name for p in blobs)


def environment(root: Path, *, synced: bool) -> dict[str, str]:
    """What a command of ours needs to run on `root`."""
    return {**os.environ, "TIDEGATE_ROOT": str(root), **({} if synced else {"TIDEGATE_NO_SYNC": "1"})}


def pack_for(low: Path, file: Path) -> str:
    """Pack a folder with the file on the low side; the bundle's name for `send`."""
    packed = tidegate(low, "pack", str(file.parent))
    return str(packed.result()["bundle"])
