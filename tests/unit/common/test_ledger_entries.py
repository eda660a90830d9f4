"""Entries: what is filled in, what is made harmless, and rules L-14 and L-15."""

import json
import os
import re
from dataclasses import fields, replace
from pathlib import Path

import pytest

from tidegate.errors import LedgerError
from tidegate.ledger.entries import (
    ENTRY_MAX_BYTES,
    ClockStatus,
    Entry,
    Event,
    KeyHolder,
    Medium,
    Outcome,
    Person,
    Target,
    clean_text,
    entry,
    own_actor,
    read_entry,
)


def stamped(made: Entry) -> Entry:
    return replace(made, attempt=1, clock=ClockStatus.UNTRUSTED)


def fields_of(made: Entry) -> dict[str, object]:
    found = read_entry(0, stamped(made).to_bytes()).fields
    assert found is not None
    return found


def test_entry_fills_in_time_host_software_and_actor() -> None:
    found = fields_of(entry(Event.PACK, subject="7f3a-0001", step="pack", sequence=1))
    assert found["event"] == "pack"
    assert found["outcome"] == "done"
    assert found["event_id"] == "7f3a-0001/pack/1"
    assert found["sequence"] == 1
    assert found["clock"] == "untrusted"
    assert found["host"] == os.uname().nodename
    assert set(found) >= {"time", "software", "actor", "version"}
    assert "reason" not in found


def test_an_entry_that_was_not_queued_has_no_bytes() -> None:
    with pytest.raises(LedgerError, match="queued"):
        entry(Event.PACK, subject="a", step="b").to_bytes()


def test_entry_refuses_a_field_that_entries_do_not_have() -> None:
    with pytest.raises(TypeError):
        entry(Event.PACK, subject="a", step="b", bundel="x")


def test_nested_facts_are_written_without_what_does_not_apply() -> None:
    found = fields_of(
        entry(
            Event.SEND,
            subject="a",
            step="b",
            outcome=Outcome.BEGUN,
            medium=Medium(label="STICK", capacity=32),
            signers=(KeyHolder("anna", "k"),),
            targets=(Target("app:1", "registry.example:5000"),),
            counts={"artifacts": 2},
        )
    )
    assert found["medium"] == {"label": "STICK", "capacity": 32}
    assert found["signers"] == [{"holder": "anna", "key_id": "k"}]
    assert found["targets"] == [{"name": "app:1", "place": "registry.example:5000"}]
    assert found["counts"] == {"artifacts": 2}


def test_hostile_texts_are_cut_and_made_utf8() -> None:
    name = os.fsdecode(b"r\xe9sum\xc3\xa9")
    found = fields_of(entry(Event.MEDIA_REJECTED, subject=name, step="a/b", names=(name, "x" * 9999, "\ud800")))
    assert found["names"] == ["r\\xe9sumé", "x" * 255 + "…", "\\ud800"]
    assert found["event_id"] == "r\\xe9sumé/a-b/1"


def test_long_lists_are_cut_and_say_by_how_many() -> None:
    found = fields_of(entry(Event.LOAD, subject="a", step="b", names=tuple(map(str, range(1000)))))
    assert len(found["names"]) == 128  # type: ignore[arg-type]
    assert found["names_left_out"] == 872


def test_l14_lists_that_do_not_fit_together_are_cut_further() -> None:
    worst = "\x01" * 256  # six bytes each in JSON
    targets = tuple(Target(worst, worst, worst) for _ in range(128))
    made = stamped(entry(Event.LOAD, subject="a", step="b", names=(worst,) * 128, targets=targets))
    assert len(made.to_bytes()) <= ENTRY_MAX_BYTES
    found = fields_of(made)
    assert len(found["targets"]) + found["targets_left_out"] == 128  # type: ignore[arg-type, operator]
    assert len(found["names"]) + found["names_left_out"] == 128  # type: ignore[arg-type, operator]


def test_l14_what_is_too_long_without_lists_is_refused() -> None:
    with pytest.raises(LedgerError, match="the limit is 65535"):
        stamped(entry(Event.PACK, subject="a", step="b", counts={str(i): i for i in range(9999)})).to_bytes()


def test_a_number_that_json_cannot_hold_is_our_error() -> None:
    with pytest.raises(LedgerError):
        stamped(entry(Event.PACK, subject="a", step="b", size=2**60)).to_bytes()


@pytest.mark.parametrize("data", [b"", b"\xff", b"[]", b'{"version": 1}', b'{"version":2}', b'{"a":1}', b"{" * 9999])
def test_l15_what_this_version_cannot_read_is_an_answer(data: bytes) -> None:
    found = read_entry(7, data)
    assert (found.number, found.data, found.fields) == (7, data, None)
    assert found.text("event") == ""


def test_l15_unknown_events_and_fields_are_kept() -> None:
    found = read_entry(0, b'{"event":"teleport","later":{"a":1},"version":1}')
    assert found.text("event") == "teleport"
    assert found.fields == {"event": "teleport", "later": {"a": 1}, "version": 1}


def test_an_actor_is_declared_or_not_identified_and_never_proven(monkeypatch: pytest.MonkeyPatch) -> None:
    def actor(uid: int, sudo_uid: str = "") -> tuple[int, Person]:
        own_actor.cache_clear()
        monkeypatch.setattr(os, "getuid", lambda: uid)
        monkeypatch.setenv("SUDO_UID", sudo_uid)
        found = own_actor()
        return found.uid, found.person

    assert actor(0) == (0, Person.NOT_IDENTIFIED)
    assert actor(0, "1000") == (1000, Person.DECLARED)
    assert actor(0, "0") == (0, Person.NOT_IDENTIFIED)
    assert actor(0, "x" * 99) == (0, Person.NOT_IDENTIFIED)
    assert actor(54321) == (54321, Person.DECLARED)
    own_actor.cache_clear()


def test_clean_text_keeps_what_is_harmless() -> None:
    assert clean_text("größe – 大") == "größe – 大"
    assert json.loads(json.dumps(clean_text("a\udc80\ud800b"))).isprintable()


def test_the_document_lists_the_events_outcomes_and_fields_that_there_are() -> None:
    text = (Path(__file__).parents[3] / "docs" / "format" / "ledger.md").read_text(encoding="utf-8")
    section = text[text.index("## Entry") : text.index("## Writing")]
    events = section[section.index("\nEvents: ") : section.index("A reader keeps others")]
    assert re.findall(r"`([a-z-]+)`", events) == list(Event)
    for outcome in Outcome:
        assert f"`{outcome}`" in section
    for field in fields(Entry):
        assert f"`{field.name}`" in section or field.name in {"subject", "step", "attempt"}
