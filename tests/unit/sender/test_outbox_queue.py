"""The outbox's folder, its queue and its times, without a link."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from made_roots import files_artifact, low_side, noise

from tidegate import clock
from tidegate.errors import BundleUnknownError, UsageError
from tidegate.slip.numbers import Numbers
from tidegate.state.bundles import BundleState, get_bundle, list_bundles, set_bundle_state
from tidegate.state.sendings import (
    Priority,
    Sending,
    SendingState,
    get_sending,
    highest_sequence,
    next_waiting,
    put_sending,
)
from tidegate.workspace import Workspace
from tidegate_sender.outbox.carrier_key import CarrierKey
from tidegate_sender.outbox.folder import OutboxFolder
from tidegate_sender.outbox.intake import packed_name
from tidegate_sender.outbox.pulse import Canary, Pulse, PulseOptions, link_name
from tidegate_sender.outbox.queue import change, enqueue, list_queue, parse_since, sent_since
from tidegate_sender.outbox.repeats import Retention, repeat_round
from tidegate_sender.packing.pack import pack
from tidegate_sender.slips.memory import Confirmed, last_heard, put_confirmed

LINK = "udp://10.9.0.2:5300"
NOW = datetime(2026, 1, 28, 12, 0, tzinfo=UTC)  # a Wednesday


@pytest.fixture
def low(tmp_path: Path) -> Workspace:
    return low_side(tmp_path)


def packed(low: Workspace, seed: int = 1):
    report = pack(low, [files_artifact(low, "docs", noise(2000, seed))], None)
    with low.state.reading() as tx:
        row = get_bundle(tx, report.bundle_id)
    assert row is not None
    return row


def sent(low: Workspace, *, seed: int, ago: int = 0, last_ago: int | None = None) -> str:
    """A bundle that went over the link."""
    row = packed(low, seed)
    enqueue(low, row, LINK)
    now = clock.now()
    last = now - (ago if last_ago is None else last_ago)
    with low.state.transaction() as tx:
        put_sending(tx, Sending(row.bundle_id, LINK, SendingState.SENT, passes=1, queued=1, sent=now - ago, last=last))
        set_bundle_state(tx, row.bundle_id, BundleState.SENT)
    return row.bundle_id


# --- folder ---------------------------------------------------------------------------------------


def test_only_files_that_have_settled_are_taken_the_urgent_first(tmp_path):
    folder = OutboxFolder(tmp_path, clock=lambda: tmp_path.stat().st_mtime + 10)
    folder.prepare()
    for name in ("b.yaml", "a.tgb", "bulk/0.yaml", "urgent/z.yml", ".hidden.yaml", "notes.txt"):
        (tmp_path / name).write_text("x")
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "link.yaml").symlink_to(tmp_path / "b.yaml")
    assert [item.path.name for item in folder.settled()] == ["z.yml", "a.tgb", "b.yaml", "0.yaml"]
    fresh = OutboxFolder(tmp_path, clock=lambda: (tmp_path / "b.yaml").stat().st_ctime + 0.5)
    assert fresh.settled() == ()


def test_what_was_taken_or_rejected_never_replaces_another_file(tmp_path):
    folder = OutboxFolder(tmp_path, clock=lambda: tmp_path.stat().st_mtime + 10)
    folder.prepare()
    for number in range(2):
        (tmp_path / "a.yaml").write_text(str(number))
        (item,) = folder.settled()
        folder.take(item) if number else folder.reject(item, "why\nit failed")
    (tmp_path / "a.yaml").write_text("2")
    folder.take(folder.settled()[0])
    assert sorted(path.name for path in (tmp_path / "done").iterdir()) == ["a.2.yaml", "a.yaml"]
    assert (tmp_path / "failed" / "a.yaml.error.txt").read_text().startswith("why")


def test_a_folder_that_is_not_there_is_told(tmp_path):
    with pytest.raises(UsageError, match="no such folder"):
        OutboxFolder(tmp_path / "nowhere").prepare()


@pytest.mark.parametrize(
    ("out", "name"),
    [("", None), ("x\n[1]\n", None), ('{"bundle": 1}', None), ('{"a":1}\n{"bundle":"7f3a-0001"}\n\n', "7f3a-0001")],
)
def test_the_packed_bundle_is_found_in_what_pack_says(out, name):
    assert packed_name(out) == name


# --- queue ----------------------------------------------------------------------------------------


def test_a_queued_bundle_keeps_its_number_and_waits_once(low):
    first = packed(low)
    assert enqueue(low, first, LINK) and not enqueue(low, first, LINK)
    second = packed(low, 2)
    assert (first.sequence, second.sequence) == (1, 2)
    assert enqueue(low, second, LINK, Priority.URGENT)
    with low.state.reading() as tx:
        waiting = next_waiting(tx, LINK)
    assert waiting is not None and waiting.bundle_id == second.bundle_id
    assert enqueue(low, first, LINK, Priority.URGENT)  # more urgent than before: it moves
    assert [item.row.sequence for item in list_queue(low, LINK)] == [2, 1]


def test_the_highest_number_that_was_sent_is_one_of_its_epoch(low):
    sent(low, seed=1)
    sent(low, seed=2)
    channel = low.trust.own_channel().channel_id
    with low.state.reading() as tx:
        assert [highest_sequence(tx, LINK, channel, epoch) for epoch in (1, 2)] == [2, 0]


def test_a_discarded_bundle_is_not_queued(low):
    row = packed(low)
    with low.state.transaction() as tx:
        set_bundle_state(tx, row.bundle_id, BundleState.DISCARDED)
    with pytest.raises(UsageError, match="discarded"):
        enqueue(low, row, LINK)


def test_cancelling_a_resend_leaves_it_sent(low):
    bundle_id = sent(low, seed=1)
    with low.state.reading() as tx:
        row = get_bundle(tx, bundle_id)
    enqueue(low, row, LINK)
    assert change(low, row, None, "cancel") == (LINK,)
    with low.state.reading() as tx:
        assert get_sending(tx, bundle_id, LINK).state is SendingState.SENT
    with pytest.raises(BundleUnknownError, match="waits for no link"):
        change(low, row, None, "first")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("fri 18:00", "2026-01-23T18:00"), ("wed 11:00", "2026-01-28T11:00"), ("wednesday 13:00", "2026-01-21T13:00"),
        ("11:30", "2026-01-28T11:30"), ("23:00", "2026-01-27T23:00"), ("2026-01-20", None), ("36h", "2026-01-27T00:00"),
        ("2026-01-20T18:00Z", "2026-01-20T18:00"),
    ],
)  # fmt: skip
def test_a_time_is_understood_as_the_last_one(text, expected):
    found = parse_since(text, NOW)
    if expected:
        assert datetime.fromtimestamp(found, UTC).isoformat()[:16] == expected


@pytest.mark.parametrize("text", ["", "soon", "fri 25:00", "fri 18:00x", "2026-13-01", "99999999h"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(UsageError):
        parse_since(text, NOW)


def test_what_was_sent_since_a_time_is_found(low):
    old, new = sent(low, seed=1, ago=7200), sent(low, seed=2, ago=60)
    assert [row.bundle_id for row in sent_since(low, LINK, clock.now() - 3600)] == [new]
    assert [row.bundle_id for row in sent_since(low, LINK, 0)] == [old, new]


# --- repeats --------------------------------------------------------------------------------------


def test_repeats_take_the_newest_first_within_time_size_and_pause(low):
    old = sent(low, seed=1, ago=8 * 86400, last_ago=7200)
    middle, new = sent(low, seed=2, ago=7200), sent(low, seed=3, ago=4000)
    just = sent(low, seed=4, ago=10)
    assert repeat_round(low, LINK, Retention()) == (new, middle)
    assert repeat_round(low, LINK, Retention(seconds=30 * 86400.0, pause_seconds=0)) == (just, new, middle, old)
    size = next(item.row.size for item in list_queue(low) if item.row.bundle_id == just)
    assert repeat_round(low, LINK, Retention(total_bytes=size, pause_seconds=0)) == (just,)
    assert repeat_round(low, "udp://10.9.0.3:5300", Retention()) == ()


def test_what_was_confirmed_voided_or_removed_is_not_repeated(low):
    ids = [sent(low, seed=seed, ago=7200) for seed in range(1, 5)]
    own = low.trust.own_channel()
    with low.state.transaction() as tx:
        for site in low.settings.sites:
            put_confirmed(tx, own.channel_id, 1, site, Confirmed(Numbers.of([1])))
            assert last_heard(tx, own.channel_id, site) is not None
        set_bundle_state(tx, ids[1], BundleState.SENT, detail={"void": "withdrawn"})
        rows = {row.bundle_id: row for row in list_bundles(tx)}
    (low.root / str(rows[ids[2]].path)).unlink()
    assert repeat_round(low, LINK, Retention()) == (ids[3],)


# --- pulse ----------------------------------------------------------------------------------------


def test_heartbeat_numbers_never_fall_also_when_the_last_ones_were_not_noted(low):
    now = [0.0]
    numbers = []
    for _ in range(3):  # three runs, the first two killed
        pulse = Pulse(low, LINK, CarrierKey(low).now, PulseOptions(60), monotonic=lambda: now[0])
        for _ in range(2):
            assert pulse.datagrams() and not pulse.datagrams()
            numbers.append(pulse._number)
            now[0] += 60
    assert numbers == sorted(set(numbers))


def test_no_heartbeats_and_no_canary_where_none_are_wanted(low):
    pulse = Pulse(low, LINK, CarrierKey(low).now, PulseOptions(0, 0))
    assert pulse.due_in() is None and pulse.datagrams() == ()
    assert not Canary(low, LINK, PulseOptions(0, 0)).is_due()


def test_a_canary_is_put_down_once_a_day(low, tmp_path):
    canary = Canary(low, LINK, PulseOptions())
    assert canary.is_due()
    assert canary.put_down(tmp_path).suffix == ".yaml"
    assert not canary.is_due()


def test_the_name_of_a_link_is_one_that_heartbeats_may_carry():
    assert link_name("udp://10.9.0.2:5300") == "10.9.0.2-5300"
    assert link_name("udp://[fd00::2]:5300") == "fd00-2-5300"
