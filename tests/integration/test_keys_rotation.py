"""Keys change on the low side, and a high side that missed it all catches up with one stick: the installed command."""

import shutil
from pathlib import Path

import pytest
from two_sides import Sides, files_of

from tidegate.errors import RotationError
from tidegate.root_change import change_root, own_chain, root_signers


@pytest.fixture
def sides(tmp_path: Path) -> Sides:
    return Sides.make(tmp_path)


def key_of(sides: Sides, role: str) -> str:
    rows = sides.low.good("keys", "list", "--json").objects
    return next(str(row["key_id"]) for row in rows if row["file"] == f"keys/{role}.key")


def elsewhere(sides: Sides, name: str) -> Path:
    """Another stick."""
    path = sides.folder / name
    path.mkdir()
    return path


def test_three_rotations_missed_then_one_stick(sides: Sides) -> None:
    for role in ("release", "carrier", "root"):
        old = key_of(sides, role)
        answer = sides.low.good("keys", "rotate", role, "--revoke", "--reason", "the laptop was stolen", "--json")
        assert answer.objects[-1]["done"] is True
        assert key_of(sides, role) != old
    bundle = sides.pack()
    sides.send(bundle)
    sides.high.events()
    sides.assert_arrives(bundle)
    with sides.high.workspace() as workspace:
        assert workspace.trust.chains()[0].newest.version == 4
    assert "root-change done" in sides.high.events()


def test_what_a_revoked_key_signed_is_refused_once_the_new_root_came(sides: Sides) -> None:
    old = sides.pack()
    sides.send(old, elsewhere(sides, "old"))
    sides.low.good("keys", "rotate", "release", "--revoke", "--reason", "stolen")
    new = sides.pack("more", seed=2)
    sides.send(new)
    sides.assert_arrives(new, "more")
    answer = sides.high.fails(34, "receive", sides.folder / "old")
    assert "revoked" in answer.err


def test_a_stick_that_is_under_way_still_counts_with_keep_old_until_the_key_is_revoked(sides: Sides) -> None:
    first = sides.pack()
    sides.send(first, elsewhere(sides, "first"))
    old = key_of(sides, "release")
    sides.low.good("keys", "rotate", "release", "--keep-old")
    second = sides.pack("more", seed=2)
    sides.send(second, elsewhere(sides, "second"))
    sides.high.good("receive", sides.folder / "second")
    sides.high.good("receive", sides.folder / "first")
    sides.low.good("keys", "revoke", old[:16], "--reason", "its time is over")
    assert "nothing to do" in sides.low.good("keys", "revoke", old[:16], "--reason", "again").out


def test_a_change_made_from_a_root_that_changed_meanwhile_gives_way(sides: Sides) -> None:
    with sides.low.workspace() as workspace:
        read = own_chain(workspace)
        sides.low.good("keys", "rotate", "carrier")
        with pytest.raises(RotationError):
            change_root(workspace, read, {"epoch": 2}, root_signers(workspace, read, ()), what="epoch 2")
        assert own_chain(workspace).newest.version == 2
    bundle = sides.pack()
    sides.send(bundle)
    sides.assert_arrives(bundle)


def test_the_only_key_of_a_role_is_not_revoked_but_replaced(sides: Sides) -> None:
    answer = sides.low.fails(80, "keys", "revoke", key_of(sides, "release")[:12], "--reason", "x")
    assert "replace the key" in answer.err


def test_the_ledgers_key_is_not_rotated(sides: Sides) -> None:
    sides.low.fails(2, "keys", "rotate", "ledger")


def test_a_dry_run_changes_no_key(sides: Sides) -> None:
    before = files_of(sides.low.root / "keys"), files_of(sides.low.root / "trust")
    sides.low.good("keys", "rotate", "release", "--dry-run")
    assert (files_of(sides.low.root / "keys"), files_of(sides.low.root / "trust")) == before


@pytest.mark.parametrize("where", ["before the root", "before the key"])
def test_a_rotation_that_was_killed_is_finished_by_the_next_one(sides: Sides, where: str) -> None:
    keys, trust = sides.low.root / "keys", sides.low.root / "trust"
    old_key, old_trust = (keys / "release.key").read_bytes(), (trust / "channel.root").read_bytes()
    sides.low.good("keys", "rotate", "release")
    made = (keys / "release.key").read_bytes()
    next(keys.glob("release-*.old.key")).unlink()
    (keys / "release.key").write_bytes(old_key)
    (keys / "release.next.key").write_bytes(made)
    (keys / "release.next.key").chmod(0o600)
    if where == "before the root":
        (trust / "channel.root").write_bytes(old_trust)
        sides.low.good("keys", "rotate", "release")
    else:
        sides.low.good("keys", "rotate", "carrier")
    assert (keys / "release.key").read_bytes() == made
    bundle = sides.pack()
    sides.send(bundle)
    sides.assert_arrives(bundle)


def test_two_people_rotate_from_two_machines_by_way_of_a_file(sides: Sides) -> None:
    carla, proposal = sides.folder / "carla.key", sides.folder / "proposal"
    public = sides.low.good("keys", "new", carla, "--holder", "carla", "--json").objects[-1]["public"]
    # From one holder to two: the new one agrees, because version 2 needs both.
    answer = sides.low.fails(80, "keys", "add", "root", str(public), "--holder", "carla", "--threshold", "2")
    assert "carla" in answer.err
    sides.low.good("keys", "add", "root", str(public), "--holder", "carla", "--threshold", "2", "--key", carla)
    # From now on one alone only proposes.
    alone = sides.low.good("keys", "rotate", "release", "--proposal", proposal, "--json").objects[-1]
    assert alone["done"] is False
    sides.low.fails(80, "keys", "adopt", proposal)
    told = sides.low.run("--root", sides.folder / "nothing", "keys", "sign", proposal, "--key", carla)
    assert told.code == 0 and "carla" not in told.err
    assert "release" in told.out
    sides.low.good("keys", "adopt", proposal)
    sides.low.fails(80, "keys", "adopt", proposal)
    bundle = sides.pack()
    sides.send(bundle)
    sides.assert_arrives(bundle)
    sides.low.good("ledger", "verify")


def test_a_proposal_is_not_signed_by_a_stranger_nor_taken_up_when_changed(sides: Sides) -> None:
    carla, stranger, proposal = (sides.folder / name for name in ("carla.key", "stranger.key", "proposal"))
    public = sides.low.good("keys", "new", carla, "--holder", "carla", "--json").objects[-1]["public"]
    sides.low.good("keys", "new", stranger, "--holder", "mallory")
    sides.low.good("keys", "add", "root", str(public), "--holder", "carla", "--threshold", "2", "--key", carla)
    sides.low.good("keys", "epoch", "--reason", "lost count", "--proposal", proposal)
    sides.low.fails(80, "keys", "sign", proposal, "--key", stranger)
    whole = proposal.read_bytes()
    for place in range(0, len(whole), max(1, len(whole) // 40)):
        proposal.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        answer = sides.low.run("keys", "sign", proposal, "--key", carla)
        assert answer.code and answer.is_ours, (place, answer)


def test_a_new_epoch_counts_anew_and_leaves_the_old_ones_stale(sides: Sides) -> None:
    for name in ("docs", "more"):
        bundle = sides.pack(name, seed=len(name))
        sides.send(bundle, elsewhere(sides, f"stick-{name}"))
    sides.high.good("receive", sides.folder / "stick-docs")
    sides.low.good("keys", "epoch", "--reason", "the numbers of a backup")
    new = sides.pack("third", seed=9)
    assert new.endswith("-0001")
    sides.send(new)
    sides.high.good("receive", sides.stick)
    answer = sides.high.fails(43, "receive", sides.folder / "stick-more")
    assert "epoch 1" in answer.err


def test_a_site_joins_the_channel(sides: Sides) -> None:
    sides.low.good("keys", "site", "plant-9")
    assert "nothing to do" in sides.low.good("keys", "site", "plant-9").out
    with sides.low.workspace() as workspace:
        assert "plant-9" in workspace.settings.sites
    bundle = sides.pack()
    sides.send(bundle)
    sides.assert_arrives(bundle)
    other = sides.folder / "other"
    shutil.rmtree(other, ignore_errors=True)
    sides.low.good("--root", other, "init", "high", "--site", "plant-9")
    words = sides.low.good("keys", "show", "--json").objects[-1]["fingerprint"]
    sides.low.good("keys", "export", sides.folder / "pairing")
    sides.low.good("--root", other, "trust", "add", sides.folder / "pairing", "--fingerprint", str(words))
    sides.low.good("--root", other, "receive", sides.stick)
