"""A slip that was read is undone: what it confirmed rides again, the head of the site's ledger stays."""

import shutil
from pathlib import Path

import pytest
from receiver_world import SITE
from two_sides import Sides

from tidegate_sender.slips.memory import Confirmed, get_confirmed, get_witnessed

BIG = 300_000


@pytest.fixture
def sides(tmp_path: Path) -> Sides:
    """A channel of which the first bundle arrived, and the slip about it was read."""
    made = Sides.make(tmp_path)
    site = made.high.good("keys", "export", "--json").objects[-1]
    made.low.good("trust", "add", str(site["line"]), "--fingerprint", str(site["fingerprint"]))
    carry(made, "big", 1, BIG)
    return made


def carry(sides: Sides, name: str, seed: int, size: int = 1000) -> str:
    bundle = sides.pack(name, seed=seed, size=size)
    stick = sides.folder / f"stick-{name}-{seed}"
    stick.mkdir()
    sides.send(bundle, stick)
    sides.high.good("receive", stick)
    return bundle


def print_slip(sides: Sides) -> str:
    return str(sides.high.good("slip", "--json").objects[-1]["slip"])


def read(sides: Sides, text: str) -> dict[str, object]:
    return sides.low.good("slip", "read", "--json", text).objects[-1]


def withdraw(sides: Sides, *options: str) -> dict[str, object]:
    return sides.low.good("slip", "withdraw", SITE, "--json", *options).objects[-1]


def confirmed(sides: Sides) -> Confirmed:
    with sides.low.workspace() as workspace, workspace.state.reading() as tx:
        own = workspace.trust.own_channel()
        return get_confirmed(tx, own.channel_id, own.newest.epoch, SITE)


def seen_size(sides: Sides) -> int:
    with sides.low.workspace() as workspace, workspace.state.reading() as tx:
        seen = get_witnessed(tx, SITE)
        return seen.size if seen else 0


def test_what_a_withdrawn_slip_confirmed_rides_again_until_the_same_slip_is_read_once_more(sides: Sides) -> None:
    slip = print_slip(sides)
    read(sides, slip)
    size = seen_size(sides)
    files = sides.folder / "big"
    small = sides.low.good("pack", "--json", "--anyway", files).objects[-1]
    assert small["content_size"] == 0
    sides.low.events()
    done = withdraw(sides, "--reason", "read by mistake")
    assert (done["outcome"], done["held"], done["builds_on_it"]) == ("withdrawn", "1", [small["bundle"]])
    assert sides.low.events() == ["slip-withdrawn done"]
    made = sides.low.entries()[-1]
    assert (made["justification"], made["audience"], made["counts"]) == (
        "read by mistake",
        [SITE],
        {"held": 1, "missing": 0},
    )
    again = sides.low.good("pack", "--json", "--anyway", files).objects[-1]
    assert int(str(again["content_size"])) > BIG
    assert seen_size(sides) == size  # evidence stays
    assert read(sides, slip)["new"] == "1"
    assert str(confirmed(sides).held) == "1"
    assert read(sides, slip)["outcome"] == "nothing"
    assert sides.low.good("pack", "--json", "--anyway", files).objects[-1]["content_size"] == 0
    sides.low.good("ledger", "verify")


def test_an_older_slip_is_refused_also_after_the_newer_one_was_withdrawn(sides: Sides) -> None:
    old, new = print_slip(sides), print_slip(sides)
    read(sides, new)
    withdraw(sides)
    sides.low.fails(94, "slip", "read", old)
    assert confirmed(sides) == Confirmed()
    assert read(sides, print_slip(sides))["new"] == "1"


def test_what_was_missing_is_asked_for_no_more_and_a_code_counts_again(sides: Sides) -> None:
    sides.send(sides.pack("lost", seed=2))
    carry(sides, "third", 3)
    read(sides, print_slip(sides))
    assert str(confirmed(sides).missing) == "2"
    done = withdraw(sides)
    assert (done["held"], done["missing"]) == ("1+3", "2")
    assert confirmed(sides) == Confirmed()
    code = sides.high.good("receive", sides.folder / "stick-third-3", "--json").objects[-1].get("code")
    assert code
    assert read(sides, str(code))["new"] == "3"
    assert withdraw(sides)["held"] == "3"


def test_a_dry_run_and_a_withdrawal_of_nothing_change_nothing(sides: Sides) -> None:
    assert withdraw(sides)["outcome"] == "nothing"
    read(sides, print_slip(sides))
    sides.low.events()
    assert withdraw(sides, "--dry-run")["held"] == "1"
    assert sides.low.events() == []
    assert str(confirmed(sides).held) == "1"
    assert "is withdrawn: 1" in sides.low.good("slip", "withdraw", SITE.upper()).out


def test_a_site_that_the_channel_is_not_for_and_a_reason_that_is_none_are_refused(sides: Sides) -> None:
    read(sides, print_slip(sides))
    answer = sides.low.fails(93, "slip", "withdraw", "plant-77")
    assert f"is for {SITE}" in answer.err and "hint" in answer.err
    for reason in (" ", "two\nlines", "x" * 257):
        sides.low.fails(2, "slip", "withdraw", SITE, "--reason", reason)
    sides.high.fails(71, "slip", "withdraw", SITE)
    assert str(confirmed(sides).held) == "1"


@pytest.mark.parametrize("how", ["an old state", "no state", "a state that knows of it"])
def test_a_restored_state_knows_from_the_ledger_what_was_withdrawn(sides: Sides, how: str) -> None:
    read(sides, print_slip(sides))
    backup = sides.folder / "backup"
    shutil.copytree(sides.low.root, backup)
    withdraw(sides)
    if how == "a state that knows of it":
        read(sides, print_slip(sides))
        shutil.rmtree(backup)
        shutil.copytree(sides.low.root, backup)
    sides.pack("more", seed=5)
    for path in sides.low.root.glob("state.db*"):
        path.unlink()
    for path in backup.glob("state.db*") if how != "no state" else ():
        shutil.copy2(path, sides.low.root / path.name)
    sides.low.good("restore", "--reason", "the disk died")
    assert str(confirmed(sides).held) == ("1" if how == "a state that knows of it" else "NONE")
    assert read(sides, print_slip(sides))["held"] == "1"
    assert str(confirmed(sides).held) == "1"
