"""The second way across: a bundle over a link that has no way back, and that loses datagrams."""

import json
import shutil
import socket
import subprocess
import sysconfig
import time
from pathlib import Path

from tidegate.demo.side import Side
from tidegate.demo.wire import LossyRelay
from tidegate.errors import TidegateError

LOSS = 0.03
SEED = 11
RATE = "100mbit"
MTU = 1500
LIMIT_SECONDS = 60.0


class LinkDemoError(TidegateError):
    """The bundle did not come over the link."""


def cross_link(low: Side, high: Side, folder: Path) -> dict[str, object]:
    """Pack a second folder, send it through a lossy relay, receive it; the facts of the closing line."""
    source = folder / "updates"
    library = Path(sysconfig.get_path("stdlib"))
    for name in ("asyncio", "concurrent", "ctypes", "encodings", "idlelib", "multiprocessing"):
        if (library / name).is_dir():
            shutil.copytree(library / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    low.run("pack", str(source))
    bundle = str(low.ask("show", "2")["bundle"])
    port = _free_port()
    high.report.line(f"\nhigh$ tidegate receive udp://127.0.0.1:{port} &")
    listener = high.start("receive", f"udp://127.0.0.1:{port}", "--bundles", "1", "--json")
    try:
        with LossyRelay(port, loss=LOSS, seed=SEED).running() as relay:
            _wait_until_listening(listener)
            low.report.line(f"  (between them a relay on loopback with no way back, which loses {LOSS:.0%})")
            rate = ("--rate", RATE, "--expected-loss", f"{LOSS:.0%}", "--mtu", str(MTU))
            low.run("send", bundle, f"udp://127.0.0.1:{relay.port}", *rate)
            outcome = _wait_for_bundle(listener)
    finally:
        _end(listener)
    high.report.line(
        f"\nThe relay passed {relay.passed} datagrams and lost {relay.lost}."
        f" high received {bundle}: {outcome['damaged_places']} datagrams of it repaired, nothing missing"
    )
    low.run("link", "status")
    return {"link_bundle": bundle, "link_lost": relay.lost, "link_passed": relay.passed}


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_listening(listener: "subprocess.Popen[str]") -> None:
    """Its first line says so; then the process that reads the socket needs a moment."""
    assert listener.stdout is not None, "it was started with a pipe"
    if not listener.stdout.readline():
        _, errors = listener.communicate()
        raise LinkDemoError(f'"tidegate receive" ended with {listener.returncode}: {errors.strip()}')
    time.sleep(0.5)


def _wait_for_bundle(listener: "subprocess.Popen[str]") -> dict[str, object]:
    try:
        out, errors = listener.communicate(timeout=LIMIT_SECONDS)
    except subprocess.TimeoutExpired:
        raise LinkDemoError(f"nothing came within {LIMIT_SECONDS:.0f} seconds") from None
    outcomes = [item for item in map(json.loads, out.splitlines()) if "outcome" in item]
    if listener.returncode != 0 or not outcomes:
        raise LinkDemoError(f'"tidegate receive" ended with {listener.returncode}: {errors.strip()}')
    found: dict[str, object] = outcomes[-1]
    return found


def _end(listener: "subprocess.Popen[str]") -> None:
    if listener.poll() is None:
        listener.terminate()
        try:
            listener.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            listener.kill()
            listener.communicate()
