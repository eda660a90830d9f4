"""``doctor --link``: both ends of a link, what is wrong there and what mends it."""

import json
import subprocess
from pathlib import Path

import pytest
from two_sides import Sides, tidegate_command
from wire import HIGH_ADDRESS, HIGH_MAC, why_not, wire

from tidegate.interfaces import route_4

ROUTES = """Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth1\t0000090A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
eth2\t0200090A\t00000000\t0005\t0\t0\t0\tFFFFFFFF\t0\t0\t0
eth3\t0300090A\t00000000\t0000\t0\t0\t0\tFFFFFFFF\t0\t0\t0
"""


@pytest.mark.parametrize(
    ("host", "interface"),
    [("192.0.2.1", "eth0"), ("10.9.0.1", "eth1"), ("10.9.0.2", "eth2"), ("10.9.0.3", "eth1")],
)
def test_the_longest_route_that_is_up_counts(host: str, interface: str) -> None:
    assert route_4(ROUTES, host) == interface
    assert route_4(ROUTES.splitlines()[0], host) is None


def doctor(link: str, *prefix: str, root: Path | None = None) -> tuple[int, dict[str, dict[str, str]]]:
    command = [*prefix, *tidegate_command(), "--json", "doctor", "--link", link]
    command += [] if root is None else ["--root", str(root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode in {0, 73}, done.stderr
    findings = json.loads(done.stdout.splitlines()[-1])["findings"]
    return done.returncode, {item["subject"]: item for item in findings}


def test_the_end_that_has_the_address_receives() -> None:
    code, found = doctor("udp://127.0.0.1:5300")
    assert code == 0
    assert "the receiving end, by lo" in found["link"]["text"]
    assert found["socket buffer"]["mend"].startswith("sysctl -w net.core.rmem_max=")


@pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")
def test_both_ends_of_a_wire_are_judged_and_a_missing_neighbour_is_told() -> None:
    with wire() as link:
        code, low = doctor(link.address(), *link.low())
        assert (code, low["neighbour"]["state"]) == (0, "ok")
        assert "the sending end, by vlow" in low["link"]["text"]
        code, high = doctor(link.address(), *link.high())
        assert code == 0
        assert "the receiving end, by vhigh" in high["link"]["text"]
        assert high["UDP_GRO"]["state"] == "ok"
        subprocess.run(link.high("ethtool", "-K", "vhigh", "gro", "off"), check=True, capture_output=True)
        assert doctor(link.address(), *link.high())[1]["UDP_GRO"]["mend"] == "ethtool -K vhigh gro on"
        subprocess.run(link.low("ip", "link", "set", "vlow", "arp", "on"), check=True)
        subprocess.run(link.low("ip", "neigh", "flush", "all", "nud", "permanent"), check=True, capture_output=True)
        code, low = doctor(link.address(), *link.low())
        assert (code, low["neighbour"]["state"]) == (73, "lacks")
        assert low["neighbour"]["mend"].startswith(f"ip neigh replace {HIGH_ADDRESS} lladdr")


@pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")
def test_each_side_is_told_when_the_address_is_at_the_wrong_end_or_behind_a_gateway(sides: Sides) -> None:
    with wire() as link:
        code, found = doctor(link.address(), *link.low(), root=sides.high.root)
        assert (code, found["link"]["state"]) == (73, "lacks")
        assert found["link"]["mend"].startswith(f"ip addr add {HIGH_ADDRESS}/24 dev DEVICE")
        code, found = doctor(link.address(), *link.high(), root=sides.low.root)
        assert (code, found["address"]["state"]) == (73, "lacks")
        assert "vhigh" in found["address"]["text"]
        code, found = doctor(link.address(multicast=True), *link.low(), root=sides.low.root)
        assert code == 0 and "the sending end, by vlow" in found["link"]["text"]
        subprocess.run(link.high("ip", "route", "add", "239.0.0.0/8", "dev", "vhigh"), check=True)
        code, found = doctor(link.address(multicast=True), *link.high(), root=sides.high.root)
        assert code == 0 and "the receiving end, by vhigh" in found["link"]["text"]
        subprocess.run(link.low("ip", "route", "add", "default", "via", "10.99.0.9"), check=True)
        code, found = doctor("udp://192.0.2.1:5300", *link.low(), root=sides.low.root)
        assert "neighbour" not in found and found["route"]["mend"].startswith("ip route replace 192.0.2.1 dev DEVICE")
        assert "over the gateway 10.99.0.9, by vlow" in found["route"]["text"]


@pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")
def test_every_command_that_is_named_mends_what_it_is_named_for() -> None:
    with wire(mtu=1500) as link:
        subprocess.run(link.low("ip", "link", "set", "vlow", "arp", "on"), check=True)
        subprocess.run(link.low("ip", "neigh", "flush", "all", "nud", "permanent"), check=True, capture_output=True)
        subprocess.run(link.low("ethtool", "-K", "vlow", "tx", "off"), check=True, capture_output=True)
        subprocess.run(link.high("ethtool", "-K", "vhigh", "gro", "off", "rx", "off"), check=True, capture_output=True)
        subprocess.run(link.high("sysctl", "-qw", "net.core.netdev_max_backlog=1000"), check=False, capture_output=True)
        for address in (link.address(), link.address(family=6)):
            for end in (link.low, link.high):
                for subject, item in doctor(address, *end())[1].items():
                    if item["state"] == "ok" or subject in {"mtu", "backlog"}:  # of both hosts; of the whole machine
                        continue
                    command = item["mend"].replace("MAC-OF-THE-RECEIVER", HIGH_MAC).split()
                    subprocess.run(end(*command), check=True, capture_output=True)
                    after = doctor(address, *end())[1].get(subject, {"state": "ok"})
                    assert after["state"] == "ok", (subject, item, after)
