"""Any bytes end in a value or one of our errors; any split into drains makes the same log; any damage is found."""

import contextlib
import tempfile
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st
from ledgers import ORIGIN, SIGNER, open_desk, slow_root

from tidegate.errors import FormatError, LedgerDamagedError, TidegateError
from tidegate.ledger.checkpoint import NoteKey, open_checkpoint, parse_vkey, read_unverified, sign_checkpoint
from tidegate.ledger.entries import Entry, Event, Medium, clean_text, entry, read_entry
from tidegate.ledger.log import Log
from tidegate.ledger.merkle import Edge, leaf_hash
from tidegate.ledger.tiles import TilePath, build_bundle, parse_bundle, parse_tile_path
from tidegate.ledger.verify import OutsideCheckpoint, verify_ledger
from tidegate.ledger.writer import Head, append

KEY = NoteKey(ORIGIN, SIGNER.public)
NOTE = sign_checkpoint(ORIGIN, 3, bytes(32), SIGNER).data


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=256), st.integers(0, 256))
def test_a_bundle_comes_back_as_its_entries(entries: list[bytes], count: int) -> None:
    wanted = min(count, len(entries))
    data = build_bundle(entries)
    found, rest = parse_bundle(data, wanted, what="b")
    assert found == tuple(entries[:wanted])
    assert rest == len(build_bundle(entries[wanted:]))


@given(st.binary(max_size=400), st.integers(0, 256))
def test_parse_bundle_of_any_bytes_ends_in_entries_or_our_error(data: bytes, count: int) -> None:
    with contextlib.suppress(FormatError):
        entries, rest = parse_bundle(data, count, what="b")
        assert len(entries) == count
        assert build_bundle(entries) + data[len(data) - rest :] == data


@given(st.one_of(st.none(), st.integers(0, 63)), st.integers(0, 2**45), st.integers(1, 256))
def test_a_tile_path_comes_back(level: int | None, number: int, width: int) -> None:
    path = TilePath(level, number, width)
    assert parse_tile_path(str(path)) == path


@given(st.text(max_size=300))
@example("tile/0/" + "x" * 9)
def test_parse_tile_path_of_any_text_ends_in_a_path_or_our_error(text: str) -> None:
    with contextlib.suppress(FormatError):
        assert str(parse_tile_path(text)) == text


@given(st.binary(max_size=600))
def test_open_checkpoint_of_any_bytes_ends_in_our_error(data: bytes) -> None:
    for read in (lambda: open_checkpoint(data, KEY), lambda: read_unverified(data)):
        with contextlib.suppress(TidegateError):
            read()


@given(st.data())
def test_any_change_of_a_signed_checkpoint_is_refused(data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(NOTE) - 1))
    kind = data.draw(st.sampled_from(["flip", "cut", "insert", "repeat"]))
    byte = data.draw(st.integers(1, 255))
    changed = {
        "flip": NOTE[:place] + bytes([NOTE[place] ^ byte]) + NOTE[place + 1 :],
        "cut": NOTE[:place],
        "insert": NOTE[:place] + bytes([byte]) + NOTE[place:],
        "repeat": NOTE[: place + 1] + NOTE[place:],
    }[kind]
    try:
        found = open_checkpoint(changed, KEY)
    except TidegateError:
        return
    # what is still taken says the same
    assert (found.origin, found.size, found.root) == (ORIGIN, 3, bytes(32))


@given(st.text(max_size=200))
def test_parse_vkey_of_any_text_ends_in_a_key_or_our_error(text: str) -> None:
    with contextlib.suppress(FormatError):
        parse_vkey(text)


ANY_TEXT = st.text(st.characters(), max_size=300)


@given(ANY_TEXT, ANY_TEXT, st.lists(ANY_TEXT, max_size=200), st.dictionaries(ANY_TEXT, st.integers(0, 2**53 - 1)))
def test_entries_of_any_texts_have_bytes_that_can_be_read(
    subject: str, detail: str, names: list[str], counts: dict[str, int]
) -> None:
    from dataclasses import replace

    from tidegate.ledger.entries import ClockStatus

    made: Entry = entry(
        Event.RECEIVE,
        subject=subject,
        step=detail,
        detail=detail,
        names=tuple(names),
        medium=Medium(label=detail, path=subject),
        counts=counts,
    )
    data = replace(made, attempt=1, clock=ClockStatus.UNTRUSTED).to_bytes()
    assert len(data) <= 65535
    found = read_entry(0, data)
    assert found.fields is not None
    assert found.text("event_id").rsplit("/", 2)[0] == clean_text(subject)


@given(st.binary(max_size=300))
def test_read_entry_of_any_bytes_is_an_answer(data: bytes) -> None:
    assert read_entry(0, data).data == data


@settings(max_examples=30, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=40), max_size=900), st.data())
def test_any_split_into_drains_makes_the_log_that_a_naive_tree_makes(entries: list[bytes], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        log = Log(Path(folder), KEY)
        head = Head(None, Edge(), ())
        notes = []
        while head.size < len(entries):
            count = data.draw(st.integers(1, len(entries) - head.size))
            head = append(log, head, entries[head.size : head.size + count], SIGNER)
            notes.append(OutsideCheckpoint("earlier", head.checkpoint.data if head.checkpoint else b""))
            again = log.edge(head.size, head.size)
            assert again.root() == head.edge.root()
            assert log.tail(again) == head.tail
        report = verify_ledger(log.folder, KEY, against=notes)
        assert report.root == slow_root(entries)
        assert (report.size, report.leftovers, report.strangers) == (len(entries), (), ())
        assert [raw for _, raw in log.raw_entries(len(entries))] == entries


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_change_of_any_file_is_found_or_harmless(data: st.DataObject) -> None:
    entries = [f"entry {i}".encode() for i in range(data.draw(st.sampled_from([1, 3, 256, 300])))]
    with tempfile.TemporaryDirectory() as folder:
        log = Log(Path(folder), KEY)
        append(log, Head(None, Edge(), ()), entries, SIGNER)
        paths = sorted(path for path in log.folder.rglob("*") if path.is_file())
        path = data.draw(st.sampled_from(paths))
        original = path.read_bytes()
        start = data.draw(st.integers(0, len(original)))
        end = data.draw(st.integers(start, len(original)))
        changed = original[:start] + data.draw(st.binary(max_size=50)) + original[end:]
        path.write_bytes(changed)
        try:
            report = verify_ledger(log.folder, KEY)
        except LedgerDamagedError:
            return
        assert changed == original or path.name == "checkpoint"
        assert report.root == slow_root(entries)


@given(st.binary(max_size=100), st.binary(max_size=100))
def test_different_entries_have_different_leaves(one: bytes, other: bytes) -> None:
    assert (leaf_hash(one) == leaf_hash(other)) == (one == other)


def test_an_empty_desk_is_verified_as_empty(tmp_path: Path) -> None:
    with open_desk(tmp_path) as desk:
        assert verify_ledger(desk.folder, desk.recorder.key).size == 0
