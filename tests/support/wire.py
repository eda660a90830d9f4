"""A wire of real single packets between two network namespaces, with losses, and with no way back.

    with wire(mtu=1500, loss_percent=1) as link:
        receiver = subprocess.Popen(link.high("tidegate", "receive", link.address()))
        subprocess.run(link.low("tidegate", "send", "1", link.address()), check=True)
        assert link.counts().back == 0

Three namespaces in a row: ``low``, ``wire``, ``high``. In the middle nft's netdev hook drops and forwards. It takes:

- low cuts its buffers itself (segmentation off at its veth), else whole buffers of 44 packets would be dropped at once;
- the middle's exit has TSO off, else a veth does not merge packets again at high (GRO): the receiver gets them singly;
- what comes back is dropped where it enters the middle: a drop on high's output would tell programs EPERM.

Needs root, ``ip``, ``nft`` and ``ethtool``; `why_not` says what is missing. Names carry the process id and a number, so
that tests may run side by side.
"""

import contextlib
import ctypes
import itertools
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LOW_ADDRESS, HIGH_ADDRESS = "10.99.0.1", "10.99.0.2"
LOW_ADDRESS_6, HIGH_ADDRESS_6 = "fd99::1", "fd99::2"
MULTICAST_ADDRESS = "239.9.9.9"
LOW_MAC, HIGH_MAC = "02:00:00:00:00:01", "02:00:00:00:00:02"
PORT = 5300

_numbers = itertools.count()


def why_not() -> str:
    """Why there can be no wire here; empty where there can."""
    if os.geteuid() != 0:
        return "needs root for network namespaces"
    missing = [program for program in ("ip", "nft", "ethtool") if shutil.which(program) is None]
    if missing:
        return f"needs {', '.join(missing)} (Debian: iproute2 nftables ethtool)"
    probe = subprocess.run(["unshare", "--net", "true"], check=False, capture_output=True)
    return "" if probe.returncode == 0 else "this host allows no network namespaces"


@dataclass(frozen=True)
class Counts:
    """Packets since the last change of losses: lost on the way, forwarded, and those that tried to come back.

    The kernel's own noise (IGMP, neighbours of IPv6) is dropped without being counted."""

    lost: int
    forwarded: int
    back: int


class Wire:
    """The three namespaces; use `wire`."""

    def __init__(self, name: str, mtu: int) -> None:
        self.mtu = mtu
        self.low_name, self.wire_name, self.high_name = (f"{name}-{end}" for end in ("low", "wire", "high"))

    def low(self, *arguments: str) -> list[str]:
        """A command line that runs in the low namespace."""
        return ["ip", "netns", "exec", self.low_name, *arguments]

    def high(self, *arguments: str) -> list[str]:
        return ["ip", "netns", "exec", self.high_name, *arguments]

    @staticmethod
    def address(port: int = PORT, *, family: int = 4, multicast: bool = False) -> str:
        """The receiver's address as `tidegate` takes it."""
        if family == 6:
            return f"udp://[{HIGH_ADDRESS_6}]:{port}"
        return f"udp://{MULTICAST_ADDRESS if multicast else HIGH_ADDRESS}:{port}"

    def high_socket(self, *, family: int = 4, port: int = PORT, multicast: bool = False) -> socket.socket:
        """A bound UDP socket of this process that lies in the high namespace."""
        kind = socket.AF_INET6 if family == 6 else socket.AF_INET
        with _inside(self.high_name):
            made = socket.socket(kind, socket.SOCK_DGRAM)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if multicast:
                group = socket.inet_aton(MULTICAST_ADDRESS) + socket.inet_aton(HIGH_ADDRESS)
                made.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
        made.bind(("::" if family == 6 else "0.0.0.0", port))
        return made

    def set_loss(self, percent: float = 0.0, *, burst: int = 0, every: int = 10_000) -> None:
        """Lose packets at random, and/or `burst` packets in a row of each `every`. Counters begin at zero."""
        rules = [f"numgen random mod 1000000 < {round(percent * 10_000)} counter drop"]
        if burst:
            rules.append(f"numgen inc mod {every} < {burst} counter drop")
        self._set_rules(rules)

    def cut(self) -> None:
        """Lose everything: the fibre is out."""
        self._set_rules(["counter drop"])

    def _set_rules(self, rules: list[str]) -> None:
        lines = "\n".join(rules)
        table = f"""
        table netdev wire
        delete table netdev wire
        table netdev wire {{
          chain forward {{
            type filter hook ingress device "w0" priority 0; policy accept;
            {lines}
            counter
            fwd to "w1"
          }}
          chain back {{
            type filter hook ingress device "w1" priority 0; policy accept;
            ip protocol igmp drop
            meta l4proto ipv6-icmp drop
            counter drop
          }}
        }}
        """
        _run("ip", "netns", "exec", self.wire_name, "nft", "-f", "-", text=table)

    def counts(self) -> Counts:
        listing = _run("ip", "netns", "exec", self.wire_name, "nft", "-j", "list", "table", "netdev", "wire")
        chains: dict[str, list[int]] = {"forward": [], "back": []}
        for item in json.loads(listing)["nftables"]:
            rule = item.get("rule")
            if rule is not None:
                chains[rule["chain"]] += [part["counter"]["packets"] for part in rule["expr"] if "counter" in part]
        *lost, forwarded = chains["forward"]
        return Counts(sum(lost), forwarded, sum(chains["back"]))

    def set_low_link(self, *, up: bool) -> None:
        """Take the sender's interface down, or up again with its static neighbours and routes."""
        _run("ip", "-n", self.low_name, "link", "set", "vlow", "up" if up else "down")
        if up:
            self._set_low_neighbours()

    def _set_low_neighbours(self) -> None:
        name = self.low_name
        _run("ip", "-n", name, "-6", "addr", "replace", f"{LOW_ADDRESS_6}/64", "dev", "vlow", "nodad")
        for address in (HIGH_ADDRESS, HIGH_ADDRESS_6):
            _run("ip", "-n", name, "neigh", "replace", address, "lladdr", HIGH_MAC, "dev", "vlow", "nud", "permanent")
        _run("ip", "-n", name, "route", "replace", "239.0.0.0/8", "dev", "vlow")

    def _up(self) -> None:
        for name in (self.low_name, self.wire_name, self.high_name):
            _run("ip", "netns", "add", name)
            _run("ip", "-n", name, "link", "set", "lo", "up")
        self._link("vlow", self.low_name, "w0")
        self._link("vhigh", self.high_name, "w1")
        for name, device, mac, address, address_6 in (
            (self.low_name, "vlow", LOW_MAC, LOW_ADDRESS, LOW_ADDRESS_6),
            (self.high_name, "vhigh", HIGH_MAC, HIGH_ADDRESS, HIGH_ADDRESS_6),
        ):
            _run("ip", "-n", name, "link", "set", device, "address", mac)
            _run("ip", "-n", name, "addr", "add", f"{address}/24", "brd", "+", "dev", device)
            _run("ip", "-n", name, "-6", "addr", "add", f"{address_6}/64", "dev", device, "nodad")
        for name, device in (
            (self.wire_name, "w0"), (self.wire_name, "w1"), (self.low_name, "vlow"), (self.high_name, "vhigh")
        ):  # fmt: skip
            _run("ip", "-n", name, "link", "set", device, "mtu", str(self.mtu), "up", "arp", "off")
        self._set_low_neighbours()
        self._offload(self.low_name, "vlow", "tx-udp-segmentation", "off", "gso", "off", "tso", "off")
        self._offload(self.high_name, "vhigh", "gro", "on")
        self._offload(self.wire_name, "w1", "tso", "off", "tx-udp-segmentation", "off", "gso", "off")

    def _link(self, device: str, name: str, peer: str) -> None:
        _run("ip", "link", "add", device, "netns", name, "type", "veth", "peer", "name", peer, "netns", self.wire_name)

    @staticmethod
    def _offload(name: str, device: str, *switches: str) -> None:
        _run("ip", "netns", "exec", name, "ethtool", "-K", device, *switches)

    def _down(self) -> None:
        for name in (self.low_name, self.wire_name, self.high_name):
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


@contextlib.contextmanager
def wire(mtu: int = 1500, *, loss_percent: float = 0.0, burst: int = 0, every: int = 10_000) -> Iterator[Wire]:
    """A wire that is taken down at the end."""
    _sweep()
    link = Wire(f"tgw{os.getpid()}-{next(_numbers)}", mtu)
    try:
        link._up()
        link.set_loss(loss_percent, burst=burst, every=every)
        yield link
    finally:
        link._down()


def _sweep() -> None:
    """Take down what processes left that were killed."""
    for path in Path("/run/netns").glob("tgw*-*-*"):
        pid = path.name[3:].split("-")[0]
        if pid.isdecimal() and not Path(f"/proc/{pid}").exists():
            subprocess.run(["ip", "netns", "del", path.name], check=False, capture_output=True)


@contextlib.contextmanager
def _inside(name: str) -> Iterator[None]:
    """This thread in another network namespace."""
    library = ctypes.CDLL(None, use_errno=True)
    with open("/proc/thread-self/ns/net") as before, open(f"/run/netns/{name}") as wanted:
        if library.setns(wanted.fileno(), 0):
            raise OSError(ctypes.get_errno(), f"entering {name}")
        try:
            yield
        finally:
            library.setns(before.fileno(), 0)


def _run(*arguments: str, text: str | None = None) -> str:
    done = subprocess.run(arguments, check=False, input=text, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout
