"""The sandboxes of listener and outbox: small, and large enough for what both do."""

import functools
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from listening import free_port
from two_sides import Sides, tidegate_command

ROOT = Path(__file__).parents[2]
UNITS = [ROOT / "systemd" / f"tidegate-{name}@.service" for name in ("listen", "outbox")]
#: of systemd-analyze security, times ten: 0 is a prison, 96 is nothing at all
EXPOSURE_MAX = 25
#: asked for by the memory of numpy's library, and done without where it is refused
_OPTIONAL = {"mbind"}

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="needs systemd-analyze: install systemd"
)


@pytest.mark.system
@needs_systemd
@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_a_service_of_the_stream_is_exposed_but_little(unit: Path) -> None:
    command = ["systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE_MAX}", "--no-pager", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-300:] + done.stderr


@functools.cache
def calls_of(name: str) -> frozenset[str]:
    """The system calls of a set of systemd, with those of the sets in it."""
    text = subprocess.run(
        ["systemd-analyze", "syscall-filter", "--no-pager", name], capture_output=True, text=True, check=True
    ).stdout
    words = [line.strip() for line in text.splitlines()[1:] if line.strip() and not line.strip().startswith("#")]
    return frozenset().union(*(calls_of(word) if word.startswith("@") else {word} for word in words))


def allowed_by(unit: Path) -> set[str]:
    allowed: set[str] = set()
    for line in re.findall(r"^SystemCallFilter=(.*)$", unit.read_text(), re.MULTILINE):
        named = set().union(*(calls_of(word) for word in line.removeprefix("~").split()))
        allowed = allowed - named if line.startswith("~") else allowed | named
    return allowed


@pytest.mark.system
@needs_systemd
@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace: apt-get install strace")
def test_the_sandboxes_allow_every_system_call_of_a_bundle_on_its_way(sides: Sides, tmp_path: Path) -> None:
    name = sides.pack("docs", size=200_000)
    port, heard = free_port(), tmp_path / "listen"
    command = [*tidegate_command(), "--root", str(sides.high.root), "receive", f"udp://127.0.0.1:{port}"]
    listener = subprocess.Popen([*_traced(heard), *command, "--bundles", "1"], stdout=subprocess.PIPE, text=True)
    assert listener.stdout is not None
    assert "listening" in listener.stdout.readline()
    sent = tmp_path / "outbox-calls"
    (tmp_path / "outbox").mkdir()
    to = f"udp://127.0.0.1:{port}"
    sides.low.good("outbox", "add", name, "--to", to)
    pace = ("--mtu", "1500", "--rate", "50mbit", "--canary", "0s")
    words = ("outbox", "run", str(tmp_path / "outbox"), "--to", to, "--until-empty", *pace)
    command = [*tidegate_command(), "--root", str(sides.low.root), *words]
    subprocess.run([*_traced(sent), *command], check=True, capture_output=True, timeout=120)
    out, _ = listener.communicate(timeout=120)
    assert listener.returncode == 0, out
    for calls, unit in ((heard, UNITS[0]), (sent, UNITS[1])):
        made = set(re.findall(r"^\d+\s+(\w+)\(", calls.read_text(), re.MULTILINE))
        assert {"recvmmsg", "sendmmsg"} & made
        assert made - allowed_by(unit) - _OPTIONAL == set(), unit.name


def _traced(log: Path) -> list[str]:
    return ["strace", "-f", "-qq", "-o", str(log), "-e", "signal=none"]
