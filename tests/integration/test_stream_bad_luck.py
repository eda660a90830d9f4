"""Bad luck of whole hosts: full disks, clocks that jump, kills, a receiver that was off, recorded, wrong sessions."""

import itertools
import json
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from listening import free_port, listening, send_to
from made_bundles import content
from made_streams import MadeSession, make_session, many_groups
from receiver_world import HighSide, LowSide
from two_sides import Sides, tidegate_command
from waiting import wait_until

from tidegate import clock
from tidegate.carrier.announcement import build_announcement
from tidegate.carrier.frames import tag_of
from tidegate.carrier.stream.header import Kind
from tidegate_receiver.intake.outcomes import OutcomeKind

BLOBS = [content(1, 900_000), content(2, 90_000)]
QUIET = ("--heartbeat", "0s", "--canary", "0s", "--mtu", "1500")


# --- the disk ---------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 48 MiB."""
    point = tmp_path / "disk"
    point.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(point)]
    if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs root and the right to mount a tmpfs")
    yield point
    subprocess.run(["umount", "--lazy", str(point)], check=True)


def fill(disk: Path) -> Path:
    """Take all that is free, as another program would."""
    path = disk / "filler"
    with path.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(1 << 16)):
                pass
        except OSError:
            return path


@pytest.mark.system
def test_a_disk_that_is_full_in_the_middle_is_named_and_with_room_the_next_session_goes_on(
    small_disk: Path, low: LowSide
) -> None:
    high = HighSide.make(small_disk / "high", low)
    blobs = [random.Random(5).randbytes(8_000_000)]
    bundle = low.bundle(blobs)
    datagrams = list(many_groups(low, bundle).datagrams())
    port = free_port()
    listener = start_listener(high, port)
    send_to(port, datagrams[: len(datagrams) // 3])
    wait_until(lambda: high.state_of(bundle) == "receiving")
    filler = fill(small_disk)
    send_anyway(port, datagrams[len(datagrams) // 3 :])
    said = ""
    for _ in range(2):  # as the service does: started again and again, while the disk is full
        try:
            out, err = listener.communicate(timeout=4)
        except subprocess.TimeoutExpired:
            listener.send_signal(signal.SIGTERM)
            out, err = listener.communicate(timeout=60)
        said += out + err
        listener = start_listener(high, port, may_end=True)
        send_anyway(port, many_groups(low, bundle).datagrams())
    listener.send_signal(signal.SIGTERM)
    out, err = listener.communicate(timeout=60)
    said += out + err
    assert "unexpected:" not in said
    assert "no space left" in said or "are free" in said or "needed under" in said, said
    assert "make room and run the same command again" in said
    filler.unlink()
    listener = start_listener(high, port)
    send_to(port, many_groups(low, bundle).datagrams())
    wait_until(lambda: high.state_of(bundle) == "quarantined")
    listener.send_signal(signal.SIGTERM)
    listener.communicate(timeout=60)
    assert high.holds(bundle, blobs)
    assert high.events().count("quarantine") == 1


def send_anyway(port: int, datagrams: Iterable[bytes]) -> None:
    """Send whether somebody listens or not, as over a diode."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for number, datagram in enumerate(datagrams):
            sender.sendto(datagram, ("127.0.0.1", port))
            if number % 100 == 0:
                time.sleep(0.001)


def start_listener(high: HighSide, port: int, *, may_end: bool = False) -> "subprocess.Popen[str]":
    """The installed command, once it listens."""
    command = [*tidegate_command(), "--root", str(high.root), "receive", f"udp://127.0.0.1:{port}"]
    started = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    status = high.root / "links" / f"127.0.0.1_{port}.json"

    def is_up() -> bool:
        if may_end and started.poll() is not None:
            return True
        try:
            return bool(json.loads(status.read_text())["pid"] == started.pid)
        except (OSError, ValueError):
            return may_end and Path("/proc/net/udp").read_text().count(f":{port:04X} ") > 0

    wait_until(is_up)
    return started


# --- the clock --------------------------------------------------------------------------------


@pytest.mark.parametrize("days", [400, -400])
def test_a_clock_that_jumps_in_the_middle_changes_nothing(
    days: int, low: LowSide, high: HighSide, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = low.bundle(BLOBS)
    datagrams = list(many_groups(low, bundle).datagrams())
    with listening(high) as listener:
        listener.send(datagrams[: len(datagrams) // 2])
        listener.wait_for(lambda: listener.counts.data > 100)
        real_now, real_time = clock.now, time.time
        monkeypatch.setattr(clock, "now", lambda: real_now() + days * 86400)
        monkeypatch.setattr(time, "time", lambda: real_time() + days * 86400)
        listener.send(datagrams[len(datagrams) // 2 :])
        (outcome,) = listener.wait_for_bundles(1)
    assert outcome.kind is OutcomeKind.RECEIVED, outcome.error
    assert high.holds(bundle, BLOBS)


# --- kills, and a receiver that was off -------------------------------------------------------


@pytest.fixture
def port() -> int:
    return free_port()


def put_into_outbox(sides: Sides, port: int, count: int) -> Path:
    folder = sides.folder / "outbox"
    folder.mkdir()
    for number in range(1, count + 1):
        sides.pack(f"docs{number}", size=60_000, count=2, seed=number + 10)
        sides.low.good("outbox", "add", str(number), "--to", f"udp://127.0.0.1:{port}")
    return folder


def test_a_receiver_that_was_off_for_several_bundles_gets_them_by_idle_repeats(sides: Sides, port: int) -> None:
    address = f"udp://127.0.0.1:{port}"
    folder = put_into_outbox(sides, port, 3)
    command = ("outbox", "run", folder, "--to", address, "--rate", "200mbit")
    outbox = sides.low.start(*command, *QUIET, "--repeat-every", "1s")
    try:
        wait_until(lambda: sides.low.states() == ["sent"] * 3)
        assert sides.high.states() == []
        listener = sides.high.start("receive", address, "--bundles", "3")
        out, err = listener.communicate(timeout=120)
        assert listener.returncode == 0, out + err
    finally:
        outbox.send_signal(signal.SIGTERM)
        outbox.communicate(timeout=60)
    assert sides.high.states() == ["quarantined"] * 3
    sides.high.check()
    repeats = [entry for entry in sides.low.entries() if entry["event"] == "send"]
    assert len(repeats) == 6, "three times begun and done; repeats are no events"


def test_a_sender_that_is_killed_in_the_middle_and_run_again_brings_the_bundle(sides: Sides, port: int) -> None:
    name = sides.pack("large", size=8_000_000, count=1)
    address = f"udp://127.0.0.1:{port}"
    listener = sides.high.start("receive", address)
    links = sides.high.root / "links"
    try:
        wait_until(lambda: list(links.glob("*.json")))
        words = ("send", name, address, "--mtu", "1500", "--rate", "40mbit", "--burst", "1ms")
        sender = sides.low.start(*words)
        wait_until(lambda: sides.high.states() == ["receiving"])
        time.sleep(0.3)
        sender.kill()
        sender.communicate()
        assert sides.high.states() != ["quarantined"]
        sides.low.good(*words)
        # It goes on with its group, so what was lost of that one may need a session more.
        wait_until(lambda: sides.high.states() in (["quarantined"], ["incomplete"]))
        if sides.high.states() == ["incomplete"]:
            sides.low.good(*words)
        wait_until(lambda: sides.high.states() == ["quarantined"])
    finally:
        listener.send_signal(signal.SIGTERM)
        listener.communicate(timeout=60)
    sides.high.check()


# --- recorded and wrong sessions --------------------------------------------------------------


def test_two_sessions_with_one_tag_at_once_make_one_bundle(low: LowSide, high: HighSide) -> None:
    """As when somebody plays back what he recorded while it is sent, or a network repeats all."""
    bundle = low.bundle(BLOBS)
    datagrams = list(many_groups(low, bundle).datagrams())
    late = [item for item in (*datagrams[200:], *datagrams[:200]) if item[4] != Kind.END]
    both = [item for pair in itertools.zip_longest(datagrams, late) for item in pair if item is not None]
    with listening(high) as listener:
        listener.send(both)
        listener.wait_for_bundles(1)
        listener.wait_for(lambda: listener.counts.datagrams == len(both))
        # A group counts as over when a later one has begun; what that costs another session brings.
        assert {outcome.kind for outcome in listener.outcomes} <= {OutcomeKind.RECEIVED, OutcomeKind.INCOMPLETE}
        if high.state_of(bundle) != "quarantined":
            listener.send(many_groups(low, bundle).datagrams())
            listener.wait_for(lambda: high.state_of(bundle) == "quarantined")
    assert high.holds(bundle, BLOBS)


def under(low: LowSide, made: MadeSession, **changes: object) -> MadeSession:
    """The same symbols under another announcement, which the carrier key signed."""
    announced = build_announcement(replace(made.announcement, **changes), low.keys["carrier"])  # type: ignore[arg-type]
    tag = tag_of(announced)
    groups = [
        (part, group, [item[:8] + tag + item[16:] for item in datagrams]) for part, group, datagrams in made.groups
    ]
    return MadeSession(made.announcement, announced, made.preamble, groups)


def with_chunks(made: MadeSession, **changes: int) -> tuple[object, ...]:
    cover, head, chunks = made.announcement.parts
    return (cover, head, replace(chunks, **changes))


@pytest.mark.parametrize(
    "changes",
    [{"source_count": 30}, {"source_count": 60}, {"repair_count": 5}, {"longer": 200_000}, {"longer": -200_000}],
    ids=["k-less", "k-more", "r-less", "longer", "shorter"],
)
def test_a_session_with_wrong_k_or_lengths_ends_by_name_and_an_honest_one_still_arrives(
    changes: dict[str, int], low: LowSide, high: HighSide
) -> None:
    bundle = low.bundle(BLOBS)
    made = many_groups(low, bundle)
    chunks = made.announcement.parts[2]
    if "longer" in changes:
        changes = {"length": chunks.length + changes["longer"]}
    parts = with_chunks(made, **changes)
    groups = -(-parts[2].block_count // parts[2].interleave)  # type: ignore[attr-defined]
    spans = tuple((part, first, groups if part == 2 else end) for part, first, end in made.announcement.spans)
    with listening(high) as listener:
        listener.send(under(low, made, parts=parts, spans=spans).datagrams())
        outcomes = listener.wait_for_bundles(1)
        if outcomes[0].kind is OutcomeKind.RECEIVED:  # where every source symbol stands at its place all the same
            assert high.holds(bundle, BLOBS)
            return
        assert outcomes[0].kind in {OutcomeKind.REFUSED, OutcomeKind.INCOMPLETE}, outcomes
        assert outcomes[0].error is not None
        listener.send(many_groups(low, bundle).datagrams())
        assert listener.wait_for_bundles(2)[1].kind is OutcomeKind.RECEIVED
    assert high.holds(bundle, BLOBS)


def test_recorded_announcements_played_back_do_not_keep_a_session_out(low: LowSide, high: HighSide) -> None:
    recorded = [
        next(item for item in make_session(low, low.bundle([b"%d" % number], sequence=number)).datagrams()
             if item[4] == Kind.ANNOUNCEMENT)
        for number in range(1, 9)
    ]  # fmt: skip
    bundle = low.bundle(BLOBS, sequence=9)
    with listening(high) as listener:
        listener.send(recorded)
        listener.wait_for(lambda: listener.counts.sessions_opened >= 8)
        until = time.monotonic() + 1.5
        while time.monotonic() < until:  # a sender repeats its announcement; so does whoever plays his back
            listener.send(recorded)
            time.sleep(0.1)
        datagrams = list(many_groups(low, bundle).datagrams())
        listener.send([*recorded, *datagrams], at_once=50)
        listener.wait_for(lambda: bool(listener.outcomes))
        listener.send(many_groups(low, bundle).datagrams(), at_once=50)
        listener.wait_for(lambda: any(outcome.kind is OutcomeKind.RECEIVED for outcome in listener.outcomes))
    assert high.holds(bundle, BLOBS)


def test_a_few_lies_among_right_symbols_are_found_or_named_and_recorded(low: LowSide, high: HighSide) -> None:
    bundle = low.bundle(BLOBS)
    made = many_groups(low, bundle)
    chance = random.Random(4)
    honest = list(made.datagrams())
    mixed = []
    for item in honest:
        if item[4] == Kind.DATA and item[5] == 2 and chance.random() < 0.01:
            mixed.append(item[:32] + chance.randbytes(len(item) - 32))  # it comes before the right one
        mixed.append(item)
    with listening(high) as listener:
        listener.send(mixed)
        (outcome,) = listener.wait_for_bundles(1)
        if outcome.kind is not OutcomeKind.RECEIVED:
            assert outcome.error is not None
            listener.send(many_groups(low, bundle).datagrams())
            assert listener.wait_for_bundles(2)[1].kind is OutcomeKind.RECEIVED
    assert high.holds(bundle, BLOBS)
    assert any(event.startswith(("verify-failed/", "mend", "receive")) for event in high.events())
