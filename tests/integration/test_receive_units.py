"""The units and the rule that start receiving: systemd and udev take them, and they keep their promises."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UNITS = sorted((ROOT / "systemd").glob("*.service"))
RULES = sorted((ROOT / "udev").glob("*.rules"))
#: udev(7): a key, perhaps with an attribute in braces, an operator, a quoted value
RULE_PART = re.compile(r'[A-Z_]+(?:\{[^}]+\})?\s*(?:==|!=|=|\+=|-=|:=)\s*"[^"]*"')


@pytest.mark.system
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze: install systemd")
@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_systemd_takes_the_unit(unit: Path, tmp_path: Path) -> None:
    # The command is where the package was installed, which systemd-analyze of this machine need not search.
    text = re.sub(r"^ExecStart=tidegate ", f"ExecStart={sys.executable} ", unit.read_text(), flags=re.MULTILINE)
    copy = tmp_path / unit.name.replace("@.", "@sdb1.")
    copy.write_text(text)
    done = subprocess.run(["systemd-analyze", "verify", copy], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_import_unit_mounts_read_only_and_goes_with_its_device() -> None:
    text = (ROOT / "systemd" / "tidegate-import@.service").read_text()
    assert "mount -o ro,nosuid,nodev,noexec /dev/%I" in text
    assert "BindsTo=dev-%i.device" in text


@pytest.mark.parametrize("rules", RULES, ids=lambda path: path.name)
def test_the_rule_is_well_formed_mounts_nothing_and_is_off_by_default(rules: Path) -> None:
    lines = [line for line in rules.read_text().splitlines() if line and not line.startswith("#")]
    assert lines
    for line in lines:
        assert all(RULE_PART.fullmatch(part.strip()) for part in line.split(", ")), line
        assert "RUN" not in line
        assert 'TEST=="/etc/tidegate/import-media"' in line
        assert 'ENV{SYSTEMD_WANTS}+="tidegate-import@%k.service"' in line


def udevadm_verifies() -> bool:
    """`udevadm verify` came with systemd 254."""
    if shutil.which("udevadm") is None:
        return False
    done = subprocess.run(["udevadm", "verify", "--help"], capture_output=True, check=False)
    return done.returncode == 0


@pytest.mark.system
@pytest.mark.skipif(not udevadm_verifies(), reason="needs udevadm verify: udev of systemd 254 or newer")
@pytest.mark.parametrize("rules", RULES, ids=lambda path: path.name)
def test_udev_takes_the_rule(rules: Path) -> None:
    subprocess.run(["udevadm", "verify", rules], check=True)
