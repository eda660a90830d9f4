"""Junk at a quarter of what this host takes beside a session at another quarter, and at full rate, on a real wire.

What this host takes is measured first: content of one session by its own time, from the first datagram to quarantine.
"""

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from crossing import listen, send, sides_with_bundle
from junk import Junk, junk_program, send_junk, write_junk
from two_sides import Sides
from waiting import wait_until
from wire import HIGH_ADDRESS, PORT, Wire, why_not, wire

pytestmark = [pytest.mark.campaign, pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")]
CONTENT_BYTES = 200_000_000
FULL_SECONDS = 5.0
MEMORY_MAX_KIB = 256 * 1024
SHARE = 0.25


@dataclass
class Listener:
    """The installed command in the high namespace."""

    process: "subprocess.Popen[str]"
    status: Path
    #: after its end: what it said, ``--json``
    said: list[dict[str, object]] = field(default_factory=list)

    def counts(self) -> dict[str, int]:
        """As they were written last: every two seconds."""
        found: dict[str, int] = json.loads(self.status.read_text())["counts"]
        return found

    def memory_kib(self) -> int:
        """The most that worker and reader had together."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        texts = [Path(f"/proc/{pid}/status").read_text() for pid in (self.process.pid, *children)]
        return sum(int(text.split("VmHWM:")[1].split()[0]) for text in texts)

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def listening(link: Wire, sides: Sides) -> Iterator[Listener]:
    process = listen(link, sides, "--json")
    try:
        made = Listener(process, next((sides.high.root / "links").glob("*.json")))
        yield made
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        made.said += [json.loads(line) for line in out.splitlines()]
    finally:
        process.kill()
        process.communicate()


def send_at(link: Wire, sides: Sides, rate_bytes: float) -> None:
    send(link, sides, "--rate", f"{int(rate_bytes * 8 / 1e6)}mbit", "--expected-loss", "1%")


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Sides:
    return sides_with_bundle(tmp_path_factory.mktemp("sides"), CONTENT_BYTES)


@pytest.fixture(scope="module")
def ceiling(packed: Sides, tmp_path_factory: pytest.TempPathFactory) -> float:
    """Bytes of content a second that this host takes from the wire, sender and receiver on it."""
    sides = packed.copy(tmp_path_factory.mktemp("ceiling") / "copy")
    with wire() as link, listening(link, sides) as listener:
        send_at(link, sides, 1.1e9)
        wait_until(lambda: sides.high.states() in (["quarantined"], ["incomplete"]), 120)
    found = CONTENT_BYTES / next(float(str(item["seconds"])) for item in listener.said if "seconds" in item)
    print(f"ceiling: {found / 1e6:.0f} MB/s")
    return found


@pytest.mark.parametrize("kind", Junk)
def test_a_session_at_a_quarter_arrives_beside_junk_at_a_quarter(
    kind: Junk, packed: Sides, ceiling: float, tmp_path: Path
) -> None:
    sides = packed.copy(tmp_path / "copy")
    program, path = junk_program(tmp_path), write_junk(kind, tmp_path)
    rate = SHARE * ceiling
    with wire() as link, listening(link, sides) as listener:
        seconds = CONTENT_BYTES / rate * 1.5 + 3
        junk = send_junk(program, path, HIGH_ADDRESS, PORT, rate=rate, seconds=seconds, before=tuple(link.low()))
        time.sleep(0.5)
        send_at(link, sides, rate)
        wait_until(lambda: sides.high.states() == ["quarantined"], 120)
        memory = listener.memory_kib()
        sent, _ = junk.communicate(timeout=300)
        assert int(sent) > 1000
        assert link.counts().back == 0
    assert memory < MEMORY_MAX_KIB
    sides.high.check()


@pytest.mark.parametrize("kind", Junk)
def test_junk_at_full_rate_costs_bounded_memory_is_counted_and_the_next_session_arrives(
    kind: Junk, packed: Sides, tmp_path: Path
) -> None:
    sides = packed.copy(tmp_path / "copy")
    program, path = junk_program(tmp_path), write_junk(kind, tmp_path)
    with wire() as link, listening(link, sides) as listener:
        before = listener.cpu_seconds()
        junk = send_junk(program, path, HIGH_ADDRESS, PORT, rate=0, seconds=FULL_SECONDS, before=tuple(link.low()))
        sent, _ = junk.communicate(timeout=300)
        time.sleep(2.5)
        used = listener.cpu_seconds() - before
        counts = listener.counts()
        print(f"{kind}: {int(sent) / FULL_SECONDS:.0f} a second, {counts}, {used:.1f} s of CPU")
        assert used < 2 * (FULL_SECONDS + 2.5), "one worker, whatever comes"
        assert listener.memory_kib() < MEMORY_MAX_KIB
        assert counts["datagrams"] + counts["lost_in_kernel"] <= int(sent)
        assert counts["sessions_opened"] == 0
        by_cause = ("junk_magic", "unknown_tag", "announcements_refused", "announcements_over_budget")
        assert sum(counts[name] for name in by_cause) >= counts["datagrams"] * 0.99
        send_at(link, sides, 50e6)
        wait_until(lambda: sides.high.states() == ["quarantined"], 120)
    sides.high.check()
