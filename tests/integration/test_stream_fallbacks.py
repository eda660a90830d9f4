"""What a host may not allow or have: a large receive buffer, UDP_GRO, UDP_SEGMENT. The stream works, and says so."""

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from crossing import listen, send, sides_with_bundle
from two_sides import Sides
from wire import why_not, wire

STOCK_BYTES = 212_992
CONTENT_BYTES = 2_000_000
ONE = ("--bundles", "1")
#: runs the installed command as on a host with the kernel's stock limit, whatever this host's is
_STOCK = f"""
from tidegate_receiver.listener import opening
opening.WANTED_BUFFER_BYTES = {STOCK_BYTES}
from tidegate.cli import main
main()
"""
_WITHOUT_NET_ADMIN = ("setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin")

needs_wire = pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Sides:
    """Both sides, and one bundle on the low one."""
    return sides_with_bundle(tmp_path_factory.mktemp("sides"), CONTENT_BYTES)


@pytest.fixture
def sides(packed: Sides, tmp_path: Path) -> Iterator[Sides]:
    made = packed.copy(tmp_path / "copy")
    yield made
    shutil.rmtree(made.folder)


@needs_wire
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv: apt-get install util-linux")
def test_the_stock_receive_buffer_without_privileges_works_and_the_warning_names_the_sysctl(sides: Sides) -> None:
    with wire() as link:
        receiver = listen(link, sides, *ONE, program=(*_WITHOUT_NET_ADMIN, sys.executable, "-c", _STOCK))
        send(link, sides, "--rate", "50mbit", "--expected-loss", "5%", "--passes", "2")
        out, err = receiver.communicate(timeout=90)
    assert receiver.returncode == 0, out + err
    assert "sysctl -w net.core.rmem_max=" in err
    assert "the kernel holds only 208.0 KiB" in err
    (status,) = (sides.high.root / "links").glob("*.json")
    assert json.loads(status.read_text())["buffer_bytes"] == STOCK_BYTES
    assert sides.high.states() == ["quarantined"]


@needs_wire
@pytest.mark.parametrize("mtu", [1500, 9000])
def test_without_gro_and_segmentation_it_works_and_both_sides_say_so(sides: Sides, mtu: int) -> None:
    with wire(mtu) as link:
        receiver = listen(link, sides, *ONE, TIDEGATE_NO_GRO="1")
        sent = send(link, sides, "--rate", "200mbit", "--expected-loss", "1%", TIDEGATE_NO_SEGMENTATION="1")
        out, err = receiver.communicate(timeout=90)
        assert link.counts().back == 0
    assert receiver.returncode == 0, out + err
    assert "the stream works, slower" in err
    assert "handed over by itself" in sent.err, sent
    (status,) = (sides.high.root / "links").glob("*.json")
    assert json.loads(status.read_text())["has_gro"] is False
    assert sides.high.states() == ["quarantined"]
