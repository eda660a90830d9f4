"""A last bundle that never came: the heartbeat says that it was sent, `inbox` shows it, and no slip signs it."""

import json
import subprocess
from pathlib import Path

import pytest
from listening import listening
from made_bundles import content
from made_streams import heartbeat
from receiver_world import HighSide, LowSide, signer
from two_sides import tidegate_command

from tidegate.state.meta import set_meta
from tidegate.trust.payload import RoleName
from tidegate_receiver.listener.heard import HEARTBEAT_PREFIX, sent_up_to


def say(high: HighSide, *words: str) -> str:
    command = [*tidegate_command(), "--root", str(high.root), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def inbox(high: HighSide) -> list[dict[str, object]]:
    found = [json.loads(line) for line in say(high, "inbox", "--json").splitlines()]
    return [item for item in found if "sent_over_link" in item]


def take(low: LowSide, high: HighSide, folder: Path, number: int) -> None:
    low.write(low.bundle([content(number, 5_000)], sequence=number), folder / f"stick-{number}")
    high.receive_one(folder / f"stick-{number}")


def hear(low: LowSide, high: HighSide, number: int, *, sequence: int, **how: object) -> None:
    with listening(high) as listener:
        listener.send([heartbeat(low, number, sequence=sequence, **how)])  # type: ignore[arg-type]
        listener.wait_for(lambda: listener.counts.heartbeats + listener.counts.heartbeats_refused == 1)


def test_a_last_bundle_that_never_came_is_shown_and_no_slip_names_it(
    low: LowSide, high: HighSide, tmp_path: Path
) -> None:
    take(low, high, tmp_path, 1)
    hear(low, high, 1, sequence=1)
    assert inbox(high) == []
    hear(low, high, 2, sequence=3)
    assert inbox(high) == [{"channel": "plant", "highest_here": 1, "sent_over_link": 3}]
    shown = say(high, "inbox")
    assert "2 to 3 went over the link, as its heartbeat says, and nothing of it came" in shown
    assert '"tidegate resend 2-3"' in shown
    assert json.loads(say(high, "slip", "--json").splitlines()[-1])["missing"] == "NONE"
    take(low, high, tmp_path, 3)  # then 2 is missing by what is signed
    assert inbox(high) == []
    assert "2 missing;" in say(high, "inbox")
    assert json.loads(say(high, "slip", "--json").splitlines()[-1])["missing"] == "2"


def test_where_nothing_came_yet_no_first_number_is_made_up(low: LowSide, high: HighSide) -> None:
    hear(low, high, 1, sequence=2**53 - 1)  # nothing is listed, however high it is
    assert inbox(high) == [{"channel": "plant", "highest_here": 0, "sent_over_link": 2**53 - 1}]
    assert "up to 9007199254740991 went over the link" in say(high, "inbox")


@pytest.mark.parametrize("how", [{"carrier": signer("a stranger")}, {"epoch": 2}], ids=["a stranger", "an epoch"])
def test_a_heartbeat_that_does_not_hold_says_nothing(
    low: LowSide, high: HighSide, tmp_path: Path, how: dict[str, object]
) -> None:
    take(low, high, tmp_path, 1)
    hear(low, high, 1, sequence=9, **how)
    assert inbox(high) == []


def test_what_a_carrier_key_said_that_the_newest_root_does_not_know_counts_no_more(
    low: LowSide, high: HighSide
) -> None:
    hear(low, high, 1, sequence=5)
    root, channel = low.chain.newest, low.chain.channel_id
    with high.workspace().state.transaction() as tx:
        assert sent_up_to(tx, channel, root) == 5
        facts = {"channel_id": channel, "epoch": 1, "sequence": 9}
        set_meta(tx, f"{HEARTBEAT_PREFIX}{'ab' * 32}.north", json.dumps(facts))
        set_meta(tx, f"{HEARTBEAT_PREFIX}{root.roles[RoleName.CARRIER].keys[0]}.old", '{"sequence": 8}')
        assert sent_up_to(tx, channel, root) == 5
    low.rotate(epoch=2)
    with high.workspace().state.reading() as tx:
        assert sent_up_to(tx, channel, low.chain.newest) == 0
