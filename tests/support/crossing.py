"""Both installed commands at the ends of a wire (`wire`): a bundle to send, a receiver that listens, a sender."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from two_sides import Answer, Sides
from waiting import wait_until
from wire import Wire


def sides_with_bundle(folder: Path, content_bytes: int) -> Sides:
    """Both sides, and bundle 1 on the low one, of bytes that do not compress."""
    sides = Sides.make(folder)
    source = sides.folder / "source"
    source.mkdir()
    (source / "noise.bin").write_bytes(os.urandom(content_bytes))
    sides.low.good("pack", source)
    return sides


def listen(
    link: Wire, sides: Sides, *options: str, address: str = "", program: Sequence[str] = (), **environment: str
) -> "subprocess.Popen[str]":
    """The receiver in the high namespace, once it listens; `program` runs in place of the installed command."""
    words = ("receive", address or link.address(), *options)
    started = sides.high.start(*words, prefix=link.high(), program=program, **environment)
    status = sides.high.root / "links"

    def is_up() -> bool:
        assert started.poll() is None, started.communicate()
        return any(status.glob("*.json"))

    try:
        wait_until(is_up)
    except BaseException:
        started.kill()
        raise
    return started


def send(link: Wire, sides: Sides, *options: str, address: str = "", **environment: str) -> Answer:
    """Send bundle 1 from the low namespace; it must end with 0."""
    words = ("send", "1", address or link.address(), *options)
    answer = sides.low.run(*words, prefix=link.low(), **environment)
    assert answer.code == 0, answer
    return answer
