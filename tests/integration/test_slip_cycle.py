"""The weeks of an operator with return slips: what is confirmed stays away, the rest rides again."""

import json
import os
import random
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

LIMIT_NOTHING_CHANGED = 64 * 1024


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str

    @property
    def facts(self) -> dict[str, object]:
        return dict(json.loads([line for line in self.out.splitlines() if line.startswith("{")][-1]))


@dataclass(frozen=True)
class World:
    """A low side, a high side, a folder of content, and a stick that is wiped before each write."""

    folder: Path

    def run(self, side: str, *words: str, code: int = 0, stdin: str | None = None) -> Answer:
        command = [str(Path(sys.executable).parent / "tidegate"), "--root", str(self.folder / side), *words]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=120, check=False, env=dict(os.environ), input=stdin
        )
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
        return Answer(done.returncode, done.stdout, done.stderr)

    def write(self, name: str, size: int, seed: int) -> None:
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        (folder / "data").write_bytes(random.Random(seed).randbytes(size))

    def pack(self, *options: str) -> dict[str, object]:
        words = [f"{self.folder}/{name}" for name in ("big", "small") if (self.folder / name).is_dir()]
        return self.run("low", "pack", "--json", *options, *words).facts

    def send(self, bundle: object, stick: str = "stick") -> Path:
        medium = self.folder / stick
        shutil.rmtree(medium, ignore_errors=True)
        medium.mkdir()
        self.run("low", "send", str(bundle), str(medium))
        return medium

    def carry(self, bundle: object) -> dict[str, object]:
        return self.run("high", "receive", "--json", str(self.send(bundle))).facts

    def slip(self, *options: str) -> dict[str, object]:
        return self.run("high", "slip", "--json", *options).facts

    def read(self, text: object, *, code: int = 0) -> Answer:
        return self.run("low", "slip", "read", "--json", str(text), code=code)


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    made.run("low", "init", "low", "--channel", "plant", "--site", "plant-7", "--site", "plant-8")
    made.run("high", "init", "high", "--site", "plant-7")
    words = made.run("low", "keys", "export", "--json", f"{tmp_path}/root").facts["fingerprint"]
    made.run("high", "trust", "add", f"{tmp_path}/root", "--fingerprint", str(words))
    site = made.run("high", "keys", "export", "--json").facts
    made.run("low", "trust", "add", str(site["line"]), "--fingerprint", str(site["fingerprint"]))
    # Bundles are for this one site, so that what it confirms is the base.
    (tmp_path / "low/tidegate.toml").write_text('role = "low"\nchannel = "plant"\nsites = ["plant-7"]\n')
    made.write("big", 600_000, 1)
    made.write("small", 1000, 2)
    return made


def test_after_a_slip_the_next_bundle_carries_only_what_is_new(world: World) -> None:
    first = world.pack()
    world.carry(first["bundle"])
    made = world.slip()
    assert (made["held"], made["missing"]) == ("1", "NONE")
    assert world.read(made["slip"]).facts["new"] == "1"
    world.write("small", 1000, 3)
    second = world.pack()
    assert int(str(second["content_size"])) < 20_000
    assert second["again_size"] == 0
    assert world.carry(second["bundle"])["needs"] == []
    for bundle in (first, second):
        world.run("high", "load", str(bundle["bundle"]))
    assert world.slip()["held"] == "1-2"


def test_a_bundle_in_which_nothing_changed_is_under_64_kib(world: World) -> None:
    world.carry(world.pack()["bundle"])
    world.read(world.slip()["slip"])
    same = world.pack("--anyway")
    assert same["content_size"] == 0
    assert int(str(same["size"])) < LIMIT_NOTHING_CHANGED
    assert world.carry(same["bundle"])["outcome"] == "received"
    assert world.read(world.slip()["slip"]).facts["held"] == "1-2"


def test_unconfirmed_content_rides_again_and_pack_and_plan_say_how_much(world: World) -> None:
    world.carry(world.pack()["bundle"])
    world.write("small", 1000, 3)
    planned = world.run("low", "plan", "--json", f"{world.folder}/big", f"{world.folder}/small").facts
    second = world.pack()
    assert int(str(second["again_size"])) > 600_000
    assert int(str(planned["brought_size"])) > 600_000
    assert world.read(world.slip()["slip"]).facts["held"] == "1"
    full = world.pack("--full", "--anyway")
    assert full["outcome"] == "replaced"
    assert full["required"] == 0
    confirmed = world.pack("--anyway")
    assert int(str(confirmed["content_size"])) < 20_000


def test_a_lost_bundle_is_missing_until_it_is_discarded_and_then_no_gap(world: World) -> None:
    world.carry(world.pack()["bundle"])
    world.write("small", 1000, 3)
    lost = world.pack()
    kept = world.send(lost["bundle"], "lost")
    world.write("small", 1000, 4)
    third = world.pack()
    assert world.carry(third["bundle"])["gap"] == [2, 2]
    answer = world.read(world.slip()["slip"]).facts
    assert (answer["held"], answer["missing_numbers"]) == ("1+3", [2])
    assert world.run("low", "discard", "--json", "2").facts["outcome"] == "void"
    assert "nothing to do" in world.run("low", "discard", "2").out
    fourth = world.pack()
    assert (fourth["outcome"], fourth["void"]) == ("packed", [2])
    world.carry(fourth["bundle"])
    assert "missing;" not in world.run("high", "inbox").out
    answer = world.read(world.slip()["slip"]).facts
    assert (answer["held"], answer["missing"]) == ("1+3-4", "NONE")
    refused = world.run("high", "receive", str(kept), code=43)
    assert "the low side has declared its number void" in refused.err


def test_discarding_what_was_not_sent_gives_its_number_back(world: World) -> None:
    first = world.pack()
    assert world.run("low", "discard", "--json", str(first["bundle"])).facts["outcome"] == "given-back"
    again = world.pack()
    assert again["bundle"] == first["bundle"]
    assert again["void"] == []


def test_what_a_site_holds_is_withdrawn_and_not_discarded(world: World) -> None:
    first = world.pack()
    world.carry(first["bundle"])
    world.read(world.slip()["slip"])
    assert "has confirmed" in world.run("low", "discard", "1", code=2).err
    done = world.run("low", "withdraw", "--json", "1", "--reason", "the vendor took it back").facts
    assert done["outcome"] == "withdrawn"
    second = world.pack()
    assert int(str(second["content_size"])) > 600_000  # what was withdrawn is no base
    world.carry(second["bundle"])
    refused = world.run("high", "load", "1", code=51)
    assert "the vendor took it back" in refused.err
    assert "withdrawn: the vendor took it back" in world.run("high", "inbox").out
    world.run("high", "load", "2")
    assert world.slip()["held"] == "2"
    events = world.run("high", "ledger", "list", "--json").out
    assert '"withdraw"' in events


def test_the_code_of_one_bundle_confirms_it(world: World) -> None:
    first = world.pack()
    got = world.carry(first["bundle"])
    answer = world.read(got["code"]).facts
    assert (answer["site"], answer["new"]) == ("plant-7", "1")
    assert world.read(got["code"]).facts["outcome"] == "nothing"
    world.write("small", 1000, 3)
    assert int(str(world.pack()["content_size"])) < 20_000


def test_an_independent_reader_reads_the_qr_code(world: World, tmp_path: Path) -> None:
    if shutil.which("zbarimg") is None:
        pytest.skip("zbarimg is not installed (on Debian: apt-get install zbar-tools)")
    world.carry(world.pack()["bundle"])
    made = world.slip("--out", f"{tmp_path}/slip.png")
    scanned = subprocess.run(["zbarimg", "-q", "--raw", "slip.png"], cwd=tmp_path, capture_output=True, check=True)
    assert scanned.stdout.decode().strip() == made["slip"]
    assert len(scanned.stdout.strip()) <= 400
    done = world.run("low", "slip", "read", "--json", "-", stdin=scanned.stdout.decode())
    assert done.facts["new"] == "1"
    assert world.read(made["slip"]).facts["outcome"] == "nothing"


def test_a_slip_is_written_as_text_svg_and_pdf(world: World, tmp_path: Path) -> None:
    world.carry(world.pack()["bundle"])
    for ending, start in ((".svg", b"<?xml"), (".pdf", b"%PDF-"), (".txt", b"SLIP 1 PLANT-7 ")):
        path = tmp_path / f"slip{ending}"
        world.slip("--out", str(path))
        assert path.read_bytes().startswith(start)
    assert world.read(tmp_path / "slip.txt").facts["new"] == "1"
    assert "QR" not in world.run("high", "slip", "--out", f"{tmp_path}/slip.gif", code=2).out


def test_the_head_in_a_slip_is_one_that_the_sites_ledger_answers_for(world: World, tmp_path: Path) -> None:
    world.carry(world.pack()["bundle"])
    world.read(world.slip()["slip"])
    from tidegate.workspace import Workspace
    from tidegate_sender.slips.memory import get_witnessed

    with Workspace.open(world.folder / "low").state.reading() as tx:
        seen = get_witnessed(tx, "plant-7")
    assert seen is not None
    (tmp_path / "seen").write_text(seen.note, encoding="utf-8")
    world.run("high", "slip")  # the ledger grows
    world.run("high", "ledger", "verify", "--against", f"{tmp_path}/seen")
    assert '"witnessed"' in world.run("low", "ledger", "list", "--json").out
    assert '"slip-printed"' in world.run("high", "ledger", "list", "--json").out


def test_dry_runs_change_nothing(world: World) -> None:
    first = world.pack()
    got = world.carry(first["bundle"])
    before = world.run("high", "ledger", "list", "--json").out
    assert world.slip("--dry-run")["slip"] is None
    assert world.run("high", "ledger", "list", "--json").out == before
    made = world.slip()
    for text in (made["slip"], got["code"]):
        assert world.run("low", "slip", "read", "--dry-run", "--json", str(text)).facts["new"] == "1"
    world.run("low", "discard", "--dry-run", "1")
    assert world.read(made["slip"]).facts["new"] == "1"


def test_a_site_that_was_put_back_is_believed_again_once_its_words_were_compared(world: World) -> None:
    world.carry(world.pack()["bundle"])
    shutil.copytree(world.folder / "high", world.folder / "backup")
    world.slip()
    world.read(world.slip()["slip"])
    shutil.rmtree(world.folder / "high")
    shutil.copytree(world.folder / "backup", world.folder / "high")
    old = world.slip()["slip"]
    assert world.read(old, code=94).facts["class"] == "SlipOldError"
    world.run("low", "trust", "remove", "plant-7")
    site = world.run("high", "keys", "export", "--json").facts
    assert world.read(old, code=93).facts["class"] == "SlipSiteError"
    world.run("low", "trust", "add", str(site["line"]), "--fingerprint", str(site["fingerprint"]))
    assert world.read(old).facts["held"] == "1"


def test_a_sites_key_is_pinned_only_with_its_words_and_replaced_only_on_purpose(world: World, tmp_path: Path) -> None:
    site = world.run("high", "keys", "export", "--json", f"{tmp_path}/site").facts
    line, words = str(site["line"]), str(site["fingerprint"])
    assert (tmp_path / "site").read_text() == f"{line}\n"
    assert "nothing to do" in world.run("low", "trust", "add", f"{tmp_path}/site", "--fingerprint", words).out
    assert "plant-7" in world.run("low", "trust", "list").out
    world.run("low", "trust", "add", line, code=81)
    world.run("low", "trust", "add", line, "--fingerprint", " ".join(reversed(words.split())), code=81)
    world.run("low", "trust", "add", line.replace("PLANT-7", "PLANT-8"), "--fingerprint", words, code=91)
    world.run("other", "init", "high", "--site", "plant-7")
    other = world.run("other", "keys", "export", "--json").facts
    refused = world.run("low", "trust", "add", str(other["line"]), "--fingerprint", str(other["fingerprint"]), code=80)
    assert "tidegate trust remove plant-7" in refused.err


def test_the_qr_code_is_drawn_on_the_terminal(world: World) -> None:
    plain, drawn = world.run("high", "slip").out, world.run("high", "slip", "--qr").out
    assert "\u2588" not in plain
    lines = [line for line in drawn.splitlines() if "\u2588" in line]
    assert len(lines) > 20
    assert max(map(len, lines)) <= 80
