"""Receipts of a ledger: a script that knows nothing of Tidegate checks them offline, and finds what was changed."""

import base64
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from two_sides import Sides

SCRIPT = Path(__file__).parents[2] / "docs" / "operating" / "check_receipt.py"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """The verifier key of a high side, and the receipts of a bundle that it loaded."""
    folder = tmp_path_factory.mktemp("receipts")
    sides = Sides.make(folder)
    bundle = sides.pack(size=2000)
    sides.send(bundle)
    sides.high.good("receive", sides.stick)
    sides.high.good("load", bundle)
    said = sides.high.good("ledger", "receipt", bundle, "--out", folder / "out", "--json").objects[-1]
    assert {item["event"] for item in said["receipts"]} >= {"receive", "quarantine", "promote", "load"}  # type: ignore[attr-defined]
    assert "export" in [entry["event"] for entry in sides.high.entries()]
    sides.high.fails(18, "ledger", "receipt", "7f3a-9999", "--out", folder / "none")
    return str(said["vkey"]), folder / "out"


def check(vkey: str, *paths: Path) -> tuple[int, str]:
    command = [sys.executable, "-I", "-S", str(SCRIPT), vkey, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout + done.stderr


def test_every_receipt_holds(written: tuple[str, Path]) -> None:
    vkey, folder = written
    paths = sorted(folder.glob("*.tlog-proof"))
    assert (folder / "vkey").read_text().strip() == vkey
    code, said = check(vkey, *paths)
    assert code == 0, said
    assert said.count(": holds: entry ") == len(paths) > 4


@pytest.mark.parametrize("what", ["entry", "number", "path", "root", "signature", "cut", "key"])
def test_a_receipt_in_which_something_is_changed_does_not_hold(
    written: tuple[str, Path], tmp_path: Path, what: str
) -> None:
    vkey, folder = written
    path = tmp_path / "changed.tlog-proof"
    shutil.copy(sorted(folder.glob("*.tlog-proof"))[2], path)
    lines = path.read_text().split("\n")
    if what == "entry":
        entry = base64.b64decode(lines[1][6:]).replace(b'"done"', b'"none"')
        lines[1] = f"extra {base64.b64encode(entry).decode()}"
    elif what == "number":
        lines[2] = f"index {int(lines[2][6:]) ^ 1}"
    elif what == "path":
        lines[3] = base64.b64encode(bytes(32)).decode()
    elif what == "root":
        lines[lines.index("") + 3] = base64.b64encode(bytes(32)).decode()
    elif what == "signature":
        lines[-2] = lines[-2][:-6] + ("AAAAA=" if not lines[-2].endswith("AAAAA=") else "BBBBB=")
    elif what == "cut":
        lines = lines[:2]
    else:
        name, _, _ = vkey.split("+", 2)
        import hashlib

        key = b"\x01" + bytes(range(32))
        digest = hashlib.sha256(name.encode() + b"\n" + key).hexdigest()[:8]
        vkey = f"{name}+{digest}+{base64.b64encode(key).decode()}"
    path.write_text("\n".join(lines))
    code, said = check(vkey, path)
    assert code == 1, said
    assert "WRONG" in said
    assert "Traceback" not in said
