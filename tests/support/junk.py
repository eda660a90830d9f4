"""Junk for a listener, each kind as an attacker on the wire would make it, and a fast sender for it.

program = junk_program(tmp_path)
process = send_junk(program, write_junk(Junk.RANDOM, tmp_path), "127.0.0.1", port, rate=100e6, seconds=5)
"""

import os
import shutil
import subprocess
from enum import StrEnum
from pathlib import Path

import pytest
from made_bundles import content
from made_streams import make_session
from receiver_world import LowSide, signer

from tidegate.carrier.announcement import build_announcement
from tidegate.carrier.frames import tag_of
from tidegate.carrier.stream.header import HEADER_BYTES, Kind
from tidegate.carrier.stream.session import control_datagram

DATAGRAM_BYTES = 1472
SOURCE = Path(__file__).with_name("junk_sender.c")
DISTINCT = 2000


class Junk(StrEnum):
    """What somebody may write to the wire who has no key."""

    RANDOM = "random-bytes"
    WRONG_TAG = "right-magic-wrong-tag"
    FORGED = "forged-announcements"


def junk_program(folder: Path) -> Path:
    """The compiled sender; skips where there is no compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler for the fast sender: apt-get install gcc libc6-dev")
    program = folder / "junk_sender"
    if not program.exists():
        subprocess.run([compiler, "-O2", "-o", program, SOURCE], check=True)
    return program


def write_junk(kind: Junk, folder: Path) -> Path:
    """A file of DISTINCT datagrams, all of one length."""
    path = folder / f"{kind}.junk"
    path.write_bytes(b"".join(_datagrams(kind)))
    return path


def _datagrams(kind: Junk) -> list[bytes]:
    if kind is Junk.RANDOM:
        return [os.urandom(DATAGRAM_BYTES) for _ in range(DISTINCT)]
    if kind is Junk.WRONG_TAG:
        payload = os.urandom(DATAGRAM_BYTES - HEADER_BYTES)
        return [control_datagram(Kind.DATA, os.urandom(8), payload) for _ in range(DISTINCT)]
    return _forged()


def _forged() -> list[bytes]:
    """Announcements that are well formed, each of another session, all of one length.

    Half are by a key that nobody pinned, half bear a recorded signature of the carrier key over something else.
    """
    low = LowSide()
    announcement = make_session(low, low.bundle([content(1, 5000)])).announcement
    frames = [bytearray(build_announcement(announcement, key)) for key in (signer("a stranger"), low.keys["carrier"])]
    made = []
    for number in range(DISTINCT):
        frame = frames[number % 2]
        frame[-20:-12] = b"%08d" % number  # every one has to be looked at anew
        made.append(control_datagram(Kind.ANNOUNCEMENT, tag_of(bytes(frame)), bytes(frame)))
    return made


def send_junk(
    program: Path, path: Path, address: str, port: int, *, rate: float, seconds: float, before: tuple[str, ...] = ()
) -> "subprocess.Popen[str]":
    """Start sending: `rate` in bytes a second, 0 as fast as it goes. It says on stdout how many datagrams it sent."""
    size = path.stat().st_size // DISTINCT
    words = [str(program), address, str(port), str(path), str(size), str(int(rate)), str(seconds)]
    return subprocess.Popen([*before, *words], stdout=subprocess.PIPE, text=True)
