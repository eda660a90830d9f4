"""What a listener keeps and for how long: incomplete bundles, unverified ones, repeats of what is here, canaries."""

import json
import os
import random
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest
from listening import Listening, listening
from made_bundles import content
from made_streams import MadeSession, make_session, many_groups
from receiver_world import HighSide, LowSide, SignedBundle
from two_sides import tidegate_command

from tidegate import clock
from tidegate.retention import DAY_SECONDS
from tidegate.slip.numbers import Numbers
from tidegate.state.bundles import note_detail
from tidegate_receiver.intake.numbering import read_standing
from tidegate_receiver.intake.outcomes import OutcomeKind
from tidegate_receiver.intake.unverified import list_unverified
from tidegate_receiver.listener import keeping
from tidegate_receiver.listener.canaries import HOUR_SECONDS
from tidegate_receiver.listener.keeping import Keeper
from tidegate_receiver.listener.status import link_status

BLOBS = [content(1, 900_000), content(2, 90_000)]


def only_chunks(low: LowSide, bundle: SignedBundle) -> MadeSession:
    """A session of which cover and head are lost."""
    made = many_groups(low, bundle)
    made.groups = [group for group in made.groups if group[0] == 2]
    return made


def leave_incomplete(low: LowSide, high: HighSide, bundle: SignedBundle) -> None:
    datagrams = list(many_groups(low, bundle).datagrams())
    with listening(high) as listener:
        listener.send(datagrams[: len(datagrams) // 2])
        listener.wait_for(lambda: listener.counts.data > 100)


def leave_unverified(low: LowSide, high: HighSide, bundle: SignedBundle, **settings: object) -> None:
    with listening(high, **settings) as listener:
        listener.send(only_chunks(low, bundle).datagrams())
        (outcome,) = listener.wait_for_bundles(1)
        assert outcome.kind is OutcomeKind.INCOMPLETE


def make_old(folder: Path, days: float) -> None:
    """As if nothing had come for so many days."""
    then = time.time() - days * DAY_SECONDS
    for path in (folder, *folder.rglob("*")):
        os.utime(path, (then, then))


def say(high: HighSide, *words: str) -> str:
    command = [*tidegate_command(), "--root", str(high.root), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


# --- incomplete and unverified ----------------------------------------------------------------


def test_an_incomplete_bundle_is_shown_with_what_it_lacks_and_named_by_the_slip(low: LowSide, high: HighSide) -> None:
    bundle = low.bundle(BLOBS)
    leave_incomplete(low, high, bundle)
    shown = say(high, "inbox")
    assert "incomplete" in shown
    assert "pieces" in shown
    assert "tidegate resend 1:" in shown
    workspace = high.workspace()
    with workspace.state.reading() as tx:
        standing = read_standing(tx, high.root, low.chain.channel_id, 1)
    assert standing.missing == Numbers.of({1})


def test_a_listener_removes_what_is_incomplete_after_ten_days_and_not_before(low: LowSide, high: HighSide) -> None:
    bundle = low.bundle(BLOBS)
    leave_incomplete(low, high, bundle)
    (name,) = high.spooled()
    told: list[str] = []
    make_old(high.root / "spool" / name, 9.9)
    Keeper(high.workspace(), told.append).clean()
    assert (high.spooled(), told) == ([name], [])
    make_old(high.root / "spool" / name, 10.1)
    Keeper(high.workspace(), told.append).clean()
    assert high.spooled() == []
    assert "nothing of it came for 10 days" in told[0]
    assert "delete/incomplete" in high.events()
    assert high.state_of(bundle) == "incomplete", "it is still missing"
    with listening(high) as listener:
        listener.send(many_groups(low, bundle).datagrams())
        assert listener.wait_for_bundles(1)[0].kind is OutcomeKind.RECEIVED


def test_the_running_listener_cleans_by_itself(low: LowSide, high: HighSide, monkeypatch: pytest.MonkeyPatch) -> None:
    leave_incomplete(low, high, low.bundle(BLOBS))
    make_old(high.root / "spool" / high.spooled()[0], 11)
    monkeypatch.setattr(keeping, "FIRST_SECONDS", 0.0)
    with listening(high) as listener:
        listener.wait_for(lambda: not high.spooled())


def test_what_came_on_a_stick_is_kept_for_longer_than_a_stream(low: LowSide, high: HighSide, tmp_path: Path) -> None:
    bundle = low.bundle(BLOBS)
    low.write(bundle, tmp_path / "stick")
    volume = max((tmp_path / "stick").rglob("*.TGV"), key=lambda path: path.stat().st_size)
    with volume.open("r+b") as file:
        file.truncate(volume.stat().st_size // 2)
    assert high.receive_one(tmp_path / "stick").kind is OutcomeKind.INCOMPLETE
    make_old(high.root / "spool" / high.spooled()[0], 30)
    Keeper(high.workspace(), lambda _text: None).clean()
    assert len(high.spooled()) == 1


def test_a_session_without_a_head_is_shown_as_unverified_and_goes_by_age(low: LowSide, high: HighSide) -> None:
    bundle = low.bundle(BLOBS)
    leave_unverified(low, high, bundle)
    assert high.state_of(bundle) == ""
    assert "unverified" in say(high, "inbox")
    (item,) = list_unverified(high.workspace())
    assert item.announcement.bundle_id == bundle.bundle_id
    assert item.kept_bytes > 100_000
    make_old(item.folder, 11)
    assert "only announced" in say(high, "cleanup")
    Keeper(high.workspace(), lambda _text: None).clean()
    assert high.spooled() == []
    assert "delete/unverified" in high.events()


def test_what_is_unverified_gives_way_to_signed_bundles_and_not_to_others(low: LowSide, high: HighSide) -> None:
    first, second = (low.bundle([random.Random(number).randbytes(900_000)], sequence=number) for number in (1, 2))
    quota = 1_200_000
    leave_unverified(low, high, first, quota_bytes=quota)
    with listening(high, quota_bytes=quota) as listener:
        listener.send(only_chunks(low, second).datagrams())
        (outcome,) = listener.wait_for_bundles(1)
        assert outcome.kind is OutcomeKind.FAILED
        assert "quota" in str(outcome.error)
        assert unverified_numbers(high) == [1]
        listener.send(many_groups(low, second).datagrams())
        assert listener.wait_for_bundles(2)[1].kind is OutcomeKind.RECEIVED
    assert unverified_numbers(high) == []
    assert "delete/unverified" in high.events()


def unverified_numbers(high: HighSide) -> list[int]:
    return [item.announcement.sequence for item in list_unverified(high.workspace())]


def test_a_clock_that_jumps_ahead_while_a_listener_runs_makes_nothing_old(
    low: LowSide, high: HighSide, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_incomplete(low, high, low.bundle(BLOBS))
    keeper = Keeper(high.workspace(), lambda _text: None)
    real = clock.now
    monkeypatch.setattr(clock, "now", lambda: real() + 400 * DAY_SECONDS)
    keeper.clean()
    assert len(high.spooled()) == 1
    monkeypatch.setattr(clock, "now", lambda: real() - 400 * DAY_SECONDS)
    keeper.clean()
    assert len(high.spooled()) == 1


# --- repeats ----------------------------------------------------------------------------------


def test_ten_repeats_of_a_whole_bundle_over_restarts_make_one_entry_a_day(low: LowSide, high: HighSide) -> None:
    bundle = low.bundle(BLOBS)
    with listening(high) as listener:
        listener.send(many_groups(low, bundle).datagrams())
        listener.wait_for_bundles(1)
    for _ in range(2):
        repeat(low, high, bundle, 5)
    assert high.events().count("duplicate") == 0, "on the day that it came"
    workspace = high.workspace()
    with workspace.state.transaction() as tx:
        note_detail(tx, bundle.bundle_id, told_again=clock.now() - DAY_SECONDS - 1)
    for _ in range(2):
        repeat(low, high, bundle, 5)
    assert high.events().count("duplicate") == 1


def repeat(low: LowSide, high: HighSide, bundle: SignedBundle, times: int) -> None:
    with listening(high) as listener:
        for _ in range(times):
            listener.send(many_groups(low, bundle).datagrams())
        listener.wait_for(lambda: listener.counts.announcements > times and listener.counts.repeated > 100)


def test_a_small_session_that_is_sent_twice_under_one_tag_makes_one_entry(low: LowSide, high: HighSide) -> None:
    bundle = low.bundle([b"small"])
    made = make_session(low, bundle)
    first, again = list(made.datagrams()), list(made.datagrams())
    with listening(high) as listener:
        listener.send(first)
        listener.wait_for_bundles(1)
        listener.send(again)
        listener.wait_for(lambda: listener.counts.datagrams == len(first) + len(again))
        assert len(listener.outcomes) == 1
    assert high.events().count("duplicate") == 0
    assert high.events().count("receive") == 1


# --- canaries ---------------------------------------------------------------------------------


def send_canary(low: LowSide, listener: Listening, number: int, *, parts: slice = slice(None)) -> None:
    blob = b"canary of day %d" % number
    bundle = low.bundle([blob], sequence=number, artifacts=(replace(_artifact(low, blob), name="canary"),))
    listener.send(list(make_session(low, bundle).datagrams())[parts])


def _artifact(low: LowSide, blob: bytes):  # type: ignore[no-untyped-def]
    return low.bundle([blob]).manifest().artifacts[0]


def make_due(listener: Listening) -> None:
    for watched in listener.worker.canaries._watched.values():
        watched.due = time.monotonic()


def test_a_canary_that_stays_away_is_an_alarm_and_one_that_comes_again_ends_it(low: LowSide, high: HighSide) -> None:
    with listening(high) as listener:
        send_canary(low, listener, 1)
        listener.wait_for_bundles(1)
        (canary,) = listener.worker.status.canaries.values()
        assert canary["alive"]
        (watched,) = listener.worker.canaries._watched.values()
        assert 25.9 * HOUR_SECONDS < watched.due - time.monotonic() <= 26 * HOUR_SECONDS
        make_due(listener)
        listener.wait_for(lambda: not listener.worker.status.canaries["plant"]["alive"])
        address = str(listener.worker.opened.address)
    (link,) = link_status(high.workspace())
    assert "canary plant: STAYS AWAY" in "\n".join(link.lines)
    assert not link.is_well
    assert f'tidegate_link_canary_alive{{link="{address}",name="plant"}} 0\n' in link.metrics
    (alarm,) = (item for item in high.entries() if item["event"] == "canary-lost")
    assert "no canary came whole for 26 hours" in str(alarm["detail"])
    stored = json.dumps(alarm)
    assert low.chain.channel_id in stored


def test_a_canary_that_does_not_come_whole_does_not_count(low: LowSide, high: HighSide) -> None:
    with listening(high) as listener:
        send_canary(low, listener, 1)
        listener.wait_for_bundles(1)
        make_due(listener)
        listener.wait_for(lambda: not listener.worker.status.canaries["plant"]["alive"])
        send_canary(low, listener, 2, parts=slice(0, 12))
        listener.wait_for(lambda: listener.counts.sessions_opened == 2)
        assert not listener.worker.status.canaries["plant"]["alive"]
        send_canary(low, listener, 3)
        listener.wait_for(lambda: bool(listener.worker.status.canaries["plant"]["alive"]))
    assert [event for event in high.events() if "canary" in event] == ["canary-lost", "canary-regained"]


def test_no_alarm_where_no_canary_ever_came_or_the_setting_says_never(low: LowSide, high: HighSide) -> None:
    with listening(high, canary_hours=0) as listener:
        send_canary(low, listener, 1)
        listener.wait_for_bundles(1)
        make_due(listener)
        listener.worker.canaries.check_time()
        assert listener.worker.status.canaries["plant"]["alive"]
    assert not [event for event in high.events() if "canary" in event]
