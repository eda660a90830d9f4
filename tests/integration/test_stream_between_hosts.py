"""The two installed commands between two namespaces, over single packets, with no way back."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from two_sides import Sides, tidegate_command
from wire import Wire, why_not, wire

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")
CONTENT_BYTES = 6_000_000


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Sides:
    """Both sides, and one bundle on the low one."""
    sides = Sides.make(tmp_path_factory.mktemp("sides"))
    source = sides.folder / "source"
    source.mkdir()
    (source / "noise.bin").write_bytes(os.urandom(CONTENT_BYTES))
    sides.low.good("pack", source)
    return sides


@pytest.mark.parametrize(
    ("mtu", "family", "multicast", "loss"),
    [(1500, 4, False, 0), (9000, 4, False, 1), (1500, 6, False, 1), (1500, 4, True, 1), (1500, 4, False, 5)],
    ids=["plain", "jumbo", "ipv6", "multicast", "five-percent"],
)
def test_a_bundle_crosses_and_nothing_comes_back(
    packed: Sides, tmp_path: Path, mtu: int, family: int, multicast: bool, loss: float
) -> None:
    sides = packed.copy(tmp_path / "copy")
    with wire(mtu, loss_percent=loss) as link:
        address = link.address(family=family, multicast=multicast)
        extra = ("--interface", "vhigh") if multicast else ()
        receiver = _listen(link, sides, address, *extra)
        loss_words = ("--expected-loss", f"{loss}%") if loss else ()
        sent = subprocess.run(
            link.low(*tidegate_command(), "--root", str(sides.low.root), "send", "1", address, "--rate", "1gbit",
                     *loss_words),
            capture_output=True,
            text=True,
            check=False,
        )  # fmt: skip
        assert sent.returncode == 0, sent.stderr
        out, err = receiver.communicate(timeout=60)
        assert receiver.returncode == 0, out + err
        assert link.counts().back == 0
    assert sides.high.states() == ["quarantined"]
    sides.high.check()
    shutil.rmtree(sides.folder)


def test_link_status_of_both_sides_says_what_each_can_know(packed: Sides, tmp_path: Path) -> None:
    sides = packed.copy(tmp_path / "copy")
    with wire() as link:
        receiver = _listen(link, sides, link.address())
        subprocess.run(
            link.low(*tidegate_command(), "--root", str(sides.low.root), "send", "1", link.address()),
            check=True,
            capture_output=True,
        )
        receiver.communicate(timeout=60)
    low, high = sides.low.run("link", "status"), sides.high.run("link", "status")
    assert "arrival unknown, no return slip was ever read" in low.out, low
    assert (low.code, high.code) == (0, 1)
    assert "nobody listens" in high.out, high
    assert "1 received" in high.out
    assert "tidegate_link_sent_bundles" in sides.low.good("link", "status", "--metrics").out
    assert "tidegate_link_bundles_received_total" in sides.high.good("link", "status", "--metrics").out


def _listen(link: Wire, sides: Sides, address: str, *extra: str) -> "subprocess.Popen[str]":
    """The receiver in the high namespace, once it listens."""
    command = [*tidegate_command(), "--root", str(sides.high.root), "receive", address, "--bundles", "1", *extra]
    started = subprocess.Popen(link.high(*command), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 60
    while not list((sides.high.root / "links").glob("*.json")):
        assert started.poll() is None, started.communicate()
        assert time.monotonic() < until
        time.sleep(0.05)
    return started


def test_a_burst_that_takes_the_first_hundred_datagrams_of_a_session_is_borne(packed: Sides, tmp_path: Path) -> None:
    sides = packed.copy(tmp_path / "copy")
    with wire(burst=100, every=1_000_000) as link:
        receiver = _listen(link, sides, link.address())
        rate = ("--rate", "200mbit")
        subprocess.run(
            link.low(*tidegate_command(), "--root", str(sides.low.root), "send", "1", link.address(), *rate),
            check=True,
            capture_output=True,
        )
        out, err = receiver.communicate(timeout=60)
        assert receiver.returncode == 0, out + err
        assert link.counts().lost == 100
    assert sides.high.states() == ["quarantined"]
