"""What every command promises: JSON that parses, dry runs that change nothing, errors in our words with a code."""

import hashlib
import json
import os
import subprocess
from pathlib import Path
from typing import NoReturn

import pytest
from command_line import Host
from two_sides import tidegate_command

from tidegate.errors import HostError
from tidegate.ledger.verify import verify_workspace
from tidegate.workspace import Workspace


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> tuple[Host, Host]:
    """A bundle that was sent, received and not loaded, and one that was packed. Tests here change nothing of it."""
    folder = tmp_path_factory.mktemp("promises")
    low, high = Host(folder / "low", folder), Host(folder / "high", folder)
    for name in ("docs", "more", "stick", "empty"):
        (folder / name).mkdir()
    (folder / "docs" / "guide.txt").write_text("read me\n")
    low("init", "low", "--channel", "plant", "--site", "plant-7")
    high("init", "high", "--site", "plant-7")
    words = low.values("keys", "export", "plant.root")["fingerprint"]
    (folder / "words").write_text(words)
    (folder / "bad.yaml").write_text("tidegate: 1\nimages:\n  - rf: app\n    platforms: [linux]\nfilez: []\n")
    high("trust", "add", "plant.root", "--fingerprint", words)
    low("pack", "./docs")
    low("send", "1", "stick")
    high("receive", "stick")
    low("pack", "./more")
    return low, high


LOW_COMMANDS = (
    "status",
    "keys list",
    "keys show",
    "keys export new.root --dry-run",
    "plan ./docs",
    "pack ./docs --dry-run",
    "send 2 empty --dry-run",
    "show 1",
    "show ./stick",
    "verify ./stick",
    "trust list",
    "ledger list",
    "ledger verify",
    "doctor",
    "init low --channel plant --site plant-7 --dry-run",
    "discard 2 --dry-run",
    "withdraw 1 --reason wrong --dry-run",
    "--show-config",
)
HIGH_COMMANDS = (
    "status",
    "inbox",
    "keys list",
    "keys export new.line --dry-run",
    "trust list",
    "trust remove plant --dry-run",
    "receive stick --dry-run",
    "watch --once --dry-run",
    "load 1 --dry-run",
    "load 1 --to ./out --dry-run",
    "show 1",
    "verify 1",
    "ledger list",
    "ledger verify",
)


@pytest.mark.parametrize(
    ("side", "line"), [*((0, line) for line in LOW_COMMANDS), *((1, line) for line in HIGH_COMMANDS)]
)
def test_json_is_one_object_a_line_quiet_is_silent_and_nothing_is_changed(
    sides: tuple[Host, Host], side: int, line: str
) -> None:
    host = sides[side]
    before = digest(host.folder)
    quiet = host(*line.split(), "--quiet")
    assert quiet.out == ""
    answer = host(*line.split(), "--json", code=quiet.code)
    objects = [json.loads(text) for text in answer.out.splitlines()]
    assert objects or line == "trust list"
    assert all(isinstance(item, dict) for item in objects)
    assert digest(host.folder) == before


def digest(folder: Path) -> str:
    """Names, types and bytes of everything below `folder`."""
    whole = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        whole.update(f"{path.relative_to(folder)} {path.lstat().st_mode:o}\n".encode())
        if path.is_file():
            whole.update(hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("recieve", "receive"),
        ("keys lst", "list"),
        ("init lwo", "low"),
        ("pack ./docs --platfrom linux/amd64", "--platform"),
        ("--jsn", "--json"),
        ("ledger list --event pakc", "pack"),
        ("plan bad.yaml", "ref"),
        ("plan bad.yaml", "files"),
    ],
)
def test_a_mistyped_word_is_answered_with_the_one_that_was_meant(
    sides: tuple[Host, Host], line: str, meant: str
) -> None:
    said = sides[0](*line.split(), code=2).err
    assert f"did you mean '{meant}'?" in said


def test_a_mistyped_setting_and_channel_are_answered_with_what_was_meant(sides: tuple[Host, Host]) -> None:
    low, high = sides
    (low.folder / "typo").mkdir(exist_ok=True)
    (low.folder / "typo" / "tidegate.toml").write_text("redundacy = 0.2\n")
    assert "did you mean 'redundancy'?" in low("--root", "typo", code=2).err
    assert "did you mean 'plant'?" in high("trust", "remove", "plnt", code=2).err


@pytest.mark.parametrize(
    ("side", "line", "code"),
    [
        (0, "keys", 2),
        (0, "pack", 2),
        (0, "pack ./nowhere", 10),
        (0, "pack nowhere.yaml", 2),
        (0, "pack ./docs --since 9", 18),
        (0, "pack ./docs --for nobody", 2),
        (0, "send 9", 18),
        (0, "send 2 ./nowhere", 24),
        (0, "send 2 ./words", 20),
        (0, "send 2 empty --redundancy 500%", 2),
        (0, "inbox", 71),
        (1, "pack ./docs", 71),
        (1, "trust add words --fingerprint x", 31),
        (1, "trust add plant.root", 81),
        (1, "trust add nowhere", 73),
        (1, "receive empty", 25),
        (1, "load 9", 18),
        (1, "load 1 --to nowhere", 2),
        (1, "load 1 --to ./words", 2),
        (1, "serve", 54),
        (1, "ledger list --last 0", 2),
        (1, "ledger list --since yesterday", 2),
        (1, "ledger verify --against nowhere", 2),
    ],
)
def test_what_cannot_be_done_has_its_code_and_names_what_it_is_about(
    sides: tuple[Host, Host], side: int, line: str, code: int
) -> None:
    answer = sides[side](*line.split(), "--json", code=code)
    (error,) = [item for item in answer.objects if "class" in item]
    assert error["exit_code"] == code
    assert answer.err.startswith("tidegate: ") and "tidegate: error: " in answer.err
    assert "Errno" not in answer.err and "tidegate: error: tidegate" not in answer.err


def test_every_error_in_a_transfer_list_is_told_with_its_line(sides: tuple[Host, Host]) -> None:
    said = sides[0]("plan", "bad.yaml", code=2).err
    assert [f"bad.yaml:{line}:" in said for line in (3, 4, 5)] == [True, True, True]


def test_a_host_without_a_root_is_told_how_to_make_one(tmp_path: Path) -> None:
    host = Host(tmp_path / "none", tmp_path)
    for line in ("pack ./docs", "receive", "inbox", "load 1", "serve", "ledger verify", "keys list", "trust list"):
        assert 'hint: run "tidegate init low' in host(*line.split(), code=71).err
    assert '"tidegate init low' in host().out
    host("init", "low", "--channel", "plant", "--site", "plant-7", "--dry-run")
    assert not (tmp_path / "none").exists()


def test_a_reader_that_goes_away_hears_no_complaint(sides: tuple[Host, Host]) -> None:
    low, _ = sides
    process = subprocess.Popen(
        [*tidegate_command(), "--root", str(low.root), "ledger", "list"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(60) in (0, 1)


def test_a_full_disk_under_the_output_is_named(sides: tuple[Host, Host]) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full, which every Linux has")
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*tidegate_command(), "--root", str(sides[0].root), "status"],
            env=dict(os.environ),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 72 and "no space left" in done.stderr


def test_a_folder_that_was_named_like_a_bundle_is_told_how_to_be_named(sides: tuple[Host, Host]) -> None:
    assert "write ./stick" in sides[0]("show", "stick", code=18).err


class ClosedState:
    """The state of a root that belongs to somebody else."""

    def reading(self) -> NoReturn:
        raise HostError("state.db: unable to open database file")


def test_an_auditor_who_may_not_open_the_state_can_verify_the_ledger(sides: tuple[Host, Host]) -> None:
    workspace = Workspace.open(sides[0].root)
    workspace.__dict__["state"] = ClosedState()  # root may open every file, so the refusal is made here
    assert verify_workspace(workspace).summary.endswith("not checked against any outside checkpoint")
    against = verify_workspace(workspace, sides[0].root / "ledger" / "checkpoint")
    assert against.agrees_with


@pytest.mark.parametrize(("words", "code"), [("show /nowhere --json", 18), ("show 1 --json", 1)])
def test_a_reader_of_the_output_who_goes_away_hides_no_exit_code(
    sides: tuple[Host, Host], words: str, code: int
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [*tidegate_command(), *words.split()]
    environment = {**os.environ, "TIDEGATE_ROOT": str(sides[0].root)}
    ended = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, env=environment, check=False, text=True)
    os.close(writing)
    assert ended.returncode == code, ended.stderr
    assert "Traceback" not in ended.stderr and "Exception ignored" not in ended.stderr
