"""The two installed commands between two namespaces, over single packets, with no way back."""

import shutil
from pathlib import Path

import pytest
from crossing import listen, send, sides_with_bundle
from two_sides import Sides
from wire import why_not, wire

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")
CONTENT_BYTES = 6_000_000
ONE = ("--bundles", "1")


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Sides:
    """Both sides, and one bundle on the low one."""
    return sides_with_bundle(tmp_path_factory.mktemp("sides"), CONTENT_BYTES)


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
        receiver = listen(link, sides, *ONE, *extra, address=address)
        loss_words = ("--expected-loss", f"{loss}%") if loss else ()
        send(link, sides, "--rate", "1gbit", *loss_words, address=address)
        out, err = receiver.communicate(timeout=60)
        assert receiver.returncode == 0, out + err
        assert link.counts().back == 0
    assert sides.high.states() == ["quarantined"]
    sides.high.check()
    shutil.rmtree(sides.folder)


def test_link_status_of_both_sides_says_what_each_can_know(packed: Sides, tmp_path: Path) -> None:
    sides = packed.copy(tmp_path / "copy")
    with wire() as link:
        receiver = listen(link, sides, *ONE)
        send(link, sides)
        receiver.communicate(timeout=60)
    low, high = sides.low.run("link", "status"), sides.high.run("link", "status")
    assert "arrival unknown, no return slip was ever read" in low.out, low
    assert (low.code, high.code) == (0, 1)
    assert "nobody listens" in high.out, high
    assert "1 received" in high.out
    assert "tidegate_link_sent_bundles" in sides.low.good("link", "status", "--metrics").out
    assert "tidegate_link_bundles_received_total" in sides.high.good("link", "status", "--metrics").out


def test_a_burst_that_takes_the_first_hundred_datagrams_of_a_session_is_borne(packed: Sides, tmp_path: Path) -> None:
    sides = packed.copy(tmp_path / "copy")
    with wire(burst=100, every=1_000_000) as link:
        receiver = listen(link, sides, *ONE)
        send(link, sides, "--rate", "200mbit")
        out, err = receiver.communicate(timeout=60)
        assert receiver.returncode == 0, out + err
        assert link.counts().lost == 100
    assert sides.high.states() == ["quarantined"]
