"""The register of the low side: a token, a label, and what came back compared with what was written."""

import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from made_roots import low_side

from tidegate.carrier.medium import find_volumes
from tidegate.errors import MediaError, MediaFullError, MediumLostError, UsageError
from tidegate.ledger.entries import Medium
from tidegate.ledger.listing import list_recorded
from tidegate.media import register as room
from tidegate.media.register import (
    RegisterOutcome,
    compare_medium,
    find_row,
    look,
    record_return,
    register,
    set_lost,
    tracked_medium,
)
from tidegate.media.token_file import NEW_NAME
from tidegate.state.media import MediumState
from tidegate.trust.keys import FileSigner
from tidegate.trust.rotation import replace_key
from tidegate.workspace import Workspace


@pytest.fixture
def low(tmp_path: Path) -> Iterator[Workspace]:
    workspace = low_side(tmp_path / "low")
    yield workspace
    workspace.state.close()


@pytest.fixture
def stick(tmp_path: Path) -> Path:
    path = tmp_path / "stick"
    path.mkdir()
    return path


def write(low: Workspace, stick: Path, name: str = "TIDEGATE/payload.bin", text: bytes = b"payload") -> list[str]:
    """Something written to the stick, as `send` does it; what is suspicious."""
    with tracked_medium(low, stick, Medium()) as tracked:
        path = stick / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text)
        tracked.carries = {"bundle": "7f3a-0001"}
    return tracked.notes


def came_back(low: Workspace, stick: Path, label: str | None = None) -> list[str]:
    """The differences of a stick that is returned, recorded."""
    report, seen = compare_medium(low, stick, label)
    record_return(low, report, seen)
    return [*report.changes.lines(), *(alarm.reason.value for alarm in report.alarms)]


def events(low: Workspace) -> list[str]:
    return [
        " ".join(filter(None, (item.text("event"), item.text("outcome"), item.text("reason"))))
        for item in list_recorded(low.folder("ledger"))
        if item.text("event").startswith("media-")
    ]


def counter(low: Workspace, stick: Path) -> int:
    judged = look(low, stick).judged
    assert judged is not None and judged.token is not None
    return judged.token.counter


# --- registering ------------------------------------------------------------------------------


def test_registering_writes_a_token_with_entries_before_and_after(low: Workspace, stick: Path) -> None:
    outcome, seen = register(low, stick, "STICK-07")
    assert outcome is RegisterOutcome.REGISTERED
    assert events(low) == ["media-registered begun", "media-registered done"]
    assert find_row(low, "stick-07").token == seen.facts.token
    assert [path.name for path in (stick / "TIDEGATE").iterdir()] == ["MEDIUM.TGM"]
    assert find_volumes(stick).strangers == ()


def test_registering_twice_under_one_label_changes_nothing(low: Workspace, stick: Path) -> None:
    register(low, stick, "STICK-07")
    before = (stick / "TIDEGATE/MEDIUM.TGM").read_bytes()
    assert register(low, stick, "stick-07")[0] is RegisterOutcome.ALREADY
    assert (stick / "TIDEGATE/MEDIUM.TGM").read_bytes() == before
    assert len(events(low)) == 2


def test_a_label_that_is_taken_is_refused_whatever_its_case(low: Workspace, stick: Path, tmp_path: Path) -> None:
    register(low, stick, "STICK-07")
    (tmp_path / "other").mkdir()
    with pytest.raises(UsageError, match="taken"):
        register(low, tmp_path / "other", "Stick-07")


def test_another_label_for_a_registered_medium_needs_a_word_more(low: Workspace, stick: Path) -> None:
    register(low, stick, "STICK-07")
    with pytest.raises(UsageError, match="registered as STICK-07") as caught:
        register(low, stick, "STICK-08")
    assert "--replace" in caught.value.hint
    register(low, stick, "STICK-08", replace_token=True)
    assert find_row(low, "STICK-08").token != find_row(low, "STICK-07").token


def test_a_label_stays_with_its_token_also_on_replacing(low: Workspace, stick: Path) -> None:
    register(low, stick, "STICK-07")
    with pytest.raises(UsageError, match="stays with the token"):
        register(low, stick, "STICK-07", replace_token=True)


@pytest.mark.parametrize("label", ["", "a/b", "\x1b[31m", "a b", "x" * 33])
def test_a_label_that_is_none_is_refused_before_anything_is_written(low: Workspace, stick: Path, label: str) -> None:
    with pytest.raises(UsageError):
        register(low, stick, label)
    assert list(stick.iterdir()) == []


def test_a_register_that_was_lost_takes_a_medium_back_by_its_token(low: Workspace, stick: Path) -> None:
    register(low, stick, "STICK-07")
    write(low, stick)
    with low.state.transaction() as tx:
        tx.execute("DELETE FROM media")
    outcome, _ = register(low, stick, "STICK-07")
    assert outcome is RegisterOutcome.ADOPTED
    assert find_row(low, "STICK-07").counter == 2
    assert came_back(low, stick) == []


def test_a_strangers_token_is_replaced_only_with_a_word_more(low: Workspace, stick: Path, tmp_path: Path) -> None:
    other = low_side(tmp_path / "other-low")
    register(other, stick, "THEIRS")
    other.state.close()
    with pytest.raises(UsageError, match="does not count"):
        register(low, stick, "OURS")
    assert register(low, stick, "OURS", replace_token=True)[0] is RegisterOutcome.REGISTERED


def test_a_medium_that_cannot_be_written_is_named(low: Workspace, stick: Path) -> None:
    (stick / "TIDEGATE").write_bytes(b"a file")
    with pytest.raises(MediaError, match="writing its token"):
        register(low, stick, "STICK-07")
    with pytest.raises(UsageError):
        find_row(low, "STICK-07")


def test_a_medium_whose_folder_is_a_link_has_nothing_written_behind_it(
    low: Workspace, stick: Path, tmp_path: Path
) -> None:
    (tmp_path / "host").mkdir()
    (stick / "TIDEGATE").symlink_to(tmp_path / "host")
    with pytest.raises(MediaError, match="writing its token"):
        register(low, stick, "STICK-07")
    assert list((tmp_path / "host").iterdir()) == []


def test_two_media_registered_at_once_never_get_one_label(low: Workspace, tmp_path: Path) -> None:
    media = [tmp_path / f"stick-{number}" for number in range(4)]
    for medium in media:
        medium.mkdir()

    def give(medium: Path) -> bool:
        workspace = Workspace.open(low.root)
        try:
            register(workspace, medium, "STICK-07")
        except UsageError:
            return False
        finally:
            workspace.state.close()
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(give, media)) == 1
    assert len([medium for medium in media if find_volumes(medium).token]) == 1


def test_what_a_cut_off_writing_of_a_token_left_is_cleared_by_the_next(low: Workspace, stick: Path) -> None:
    register(low, stick, "STICK-07")
    (stick / "TIDEGATE" / NEW_NAME).write_bytes(b"half")
    write(low, stick)
    assert not (stick / "TIDEGATE" / NEW_NAME).exists()


# --- writing ----------------------------------------------------------------------------------


def test_each_writing_raises_the_counter_on_the_medium_and_in_the_register(low: Workspace, stick: Path) -> None:
    register(low, stick, "STICK-07")
    assert write(low, stick) == []
    assert write(low, stick) == []
    assert counter(low, stick) == find_row(low, "STICK-07").counter == 3
    assert find_row(low, "STICK-07").state is MediumState.AWAY


def test_a_medium_without_a_token_is_written_as_before(low: Workspace, stick: Path) -> None:
    assert write(low, stick) == []
    assert [path.name for path in (stick / "TIDEGATE").iterdir()] == ["payload.bin"]
    assert events(low) == []


def test_a_writing_that_was_killed_leaves_contents_that_nobody_claims_to_know(low: Workspace, stick: Path) -> None:
    register(low, stick, "STICK-07")
    with pytest.raises(KeyboardInterrupt), tracked_medium(low, stick, Medium()):
        (stick / "half").write_bytes(b"x")
        raise KeyboardInterrupt
    report, seen = compare_medium(low, stick, None)
    assert report.is_clean and not report.is_compared
    record_return(low, report, seen)
    assert events(low)[-1] == "media-returned partial"


def test_a_writing_that_failed_leaves_a_medium_that_can_be_compared(low: Workspace, stick: Path) -> None:
    register(low, stick, "STICK-07")
    with pytest.raises(MediaFullError), tracked_medium(low, stick, Medium()):
        raise MediaFullError("full")
    assert came_back(low, stick) == []
    assert counter(low, stick) == 1


def test_a_token_that_cannot_be_renewed_is_a_note_and_the_writing_stands(
    low: Workspace, stick: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(low, stick, "STICK-07")

    def gone(*_: object) -> None:
        raise MediumLostError("gone")

    monkeypatch.setattr(room, "write_token", gone)
    assert any("compare it" in note for note in write(low, stick))


def test_a_copy_is_found_when_it_is_written_after_the_original(low: Workspace, stick: Path, tmp_path: Path) -> None:
    register(low, stick, "STICK-07")
    shutil.copytree(stick, tmp_path / "clone")
    write(low, stick)
    notes = write(low, tmp_path / "clone")
    assert len(notes) == 1 and "a copy, or put back" in notes[0]
    assert "media-alarm failed medium-counter-back" in events(low)
    assert counter(low, tmp_path / "clone") == 3  # above both, so that the original is found in its turn
    assert len(write(low, stick)) == 1


def test_a_lost_medium_that_is_written_warns(low: Workspace, stick: Path) -> None:
    register(low, stick, "STICK-07")
    set_lost(low, find_row(low, "STICK-07"), lost=True, reason="left on the train")
    assert write(low, stick) == ["medium STICK-07: it is marked as lost"]


def test_being_lost_and_found_does_not_clear_a_suspicion(low: Workspace, stick: Path) -> None:
    register(low, stick, "STICK-07")
    write(low, stick)
    (stick / "added").write_bytes(b"x")
    came_back(low, stick)
    for lost in (True, False):
        set_lost(low, find_row(low, "STICK-07"), lost=lost, reason=None)
    assert find_row(low, "STICK-07").state is MediumState.SUSPECT


def test_a_carrier_key_that_was_revoked_makes_no_own_medium_a_stranger(low: Workspace, stick: Path) -> None:
    register(low, stick, "STICK-07")
    write(low, stick)
    chain = low.trust.own_channel()
    (old,) = chain.newest.role_keys("carrier")
    longer = replace_key(chain, old, FileSigner(bytes(32), "link"), [low.signer("root")], 1_800_000_000)
    low.trust.advance_own(longer)
    assert came_back(low, stick) == []


# --- return -----------------------------------------------------------------------------------


def test_a_medium_that_comes_back_as_it_was_is_here_again(low: Workspace, stick: Path) -> None:
    register(low, stick, "STICK-07")
    write(low, stick)
    assert came_back(low, stick) == []
    assert find_row(low, "STICK-07").state is MediumState.HERE
    assert events(low)[-1] == "media-returned done"


def hostile(stick: Path, what: str) -> None:
    path = stick / "TIDEGATE" / "payload.bin"
    if what == "added":
        (stick / "autorun\x1b[2J\n.inf").write_bytes(b"x")
    elif what == "added folder":
        (stick / "System Volume Information").mkdir()
    elif what == "added link":
        (stick / "link").symlink_to("/etc/passwd")
    elif what == "added pipe":
        os.mkfifo(stick / "pipe")
    elif what == "no utf-8":
        (stick / os.fsdecode(b"\xff\xfe")).write_bytes(b"x")
    elif what == "changed":
        path.write_bytes(b"PAYLOAD")
    elif what == "longer":
        path.write_bytes(b"payload and more")
    elif what == "missing":
        path.unlink()
    elif what == "link instead":
        path.unlink()
        path.symlink_to("/etc/passwd")


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("added", "added: autorun\\x1b[2J\\n.inf"),
        ("added folder", "added: System Volume Information"),
        ("added link", "added: link"),
        ("added pipe", "added: pipe"),
        ("no utf-8", "added: \\xff\\xfe"),
        ("changed", "changed: TIDEGATE/payload.bin"),
        ("longer", "changed: TIDEGATE/payload.bin"),
        ("missing", "missing: TIDEGATE/payload.bin"),
        ("link instead", "changed: TIDEGATE/payload.bin"),
    ],
)
def test_whatever_was_done_to_a_medium_is_named_and_makes_it_suspicious(
    low: Workspace, stick: Path, what: str, line: str
) -> None:
    register(low, stick, "STICK-07")
    write(low, stick)
    hostile(stick, what)
    assert came_back(low, stick) == [line]
    assert find_row(low, "STICK-07").state is MediumState.SUSPECT
    assert events(low)[-1] == "media-returned failed medium-changed"
    assert write(low, stick)[0] == "medium STICK-07: it came back changed"


def test_a_medium_whose_token_is_gone_is_compared_by_its_label(low: Workspace, stick: Path) -> None:
    register(low, stick, "STICK-07")
    write(low, stick)
    (stick / "TIDEGATE/MEDIUM.TGM").unlink()
    with pytest.raises(UsageError, match="no token"):
        compare_medium(low, stick, None)
    report, _ = compare_medium(low, stick, "STICK-07")
    assert report.changes.is_clean and not report.is_clean


def test_a_medium_is_not_compared_under_anothers_label(low: Workspace, stick: Path, tmp_path: Path) -> None:
    register(low, stick, "STICK-07")
    (tmp_path / "other").mkdir()
    register(low, tmp_path / "other", "STICK-08")
    with pytest.raises(UsageError, match="is STICK-07 by its token"):
        compare_medium(low, stick, "STICK-08")


def test_a_copy_that_comes_back_in_the_place_of_the_original_is_an_alarm(
    low: Workspace, stick: Path, tmp_path: Path
) -> None:
    register(low, stick, "STICK-07")
    write(low, stick)
    shutil.copytree(stick, tmp_path / "clone")
    write(low, stick, text=b"newer")
    assert "medium-counter-back" in came_back(low, tmp_path / "clone")


def test_a_row_of_the_register_survives_names_that_are_no_utf_8(low: Workspace, stick: Path) -> None:
    register(low, stick, "STICK-07")
    (stick / os.fsdecode(b"\xff")).write_bytes(b"x")
    write(low, stick)
    assert came_back(low, stick) == []


def test_what_lay_on_a_medium_before_is_compared_as_well(low: Workspace, stick: Path) -> None:
    (stick / "photos").mkdir()
    (stick / "photos" / "one.jpg").write_bytes(b"one")
    (stick / "photos" / "two.jpg").write_bytes(b"two")
    register(low, stick, "STICK-07")
    write(low, stick)
    assert came_back(low, stick) == []
    one, two = (stick / "photos" / name for name in ("one.jpg", "two.jpg"))
    one.write_bytes(b"two")
    two.write_bytes(b"one")  # exchanged: same names, same sizes
    assert came_back(low, stick) == ["changed: photos/one.jpg", "changed: photos/two.jpg"]


def test_a_renamed_file_is_one_missing_and_one_added(low: Workspace, stick: Path) -> None:
    register(low, stick, "STICK-07")
    write(low, stick)
    (stick / "TIDEGATE" / "payload.bin").rename(stick / "TIDEGATE" / "PAYLOAD.exe")
    assert came_back(low, stick) == ["added: TIDEGATE/PAYLOAD.exe", "missing: TIDEGATE/payload.bin"]


def test_something_added_deep_inside_is_found_by_its_first_folder(low: Workspace, stick: Path) -> None:
    register(low, stick, "STICK-07")
    write(low, stick)
    deep = stick.joinpath("TIDEGATE", *["d"] * 30)
    deep.mkdir(parents=True)
    (deep / "implant.bin").write_bytes(b"x")
    found = came_back(low, stick)
    assert found
    assert all(line.startswith("added: TIDEGATE/d") for line in found)


def test_hundreds_of_added_files_are_counted_and_the_entry_stays_small(low: Workspace, stick: Path) -> None:
    register(low, stick, "STICK-07")
    write(low, stick)
    for number in range(700):
        (stick / f"{number:04d}-{'x' * 150}").write_bytes(b"")
    found = came_back(low, stick)
    assert len(found) > 100
    assert find_row(low, "STICK-07").state is MediumState.SUSPECT
    assert events(low)[-1] == "media-returned failed medium-changed"
