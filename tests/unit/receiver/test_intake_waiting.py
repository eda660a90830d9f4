"""Numbers and times that jump wait for a person; the floor of time begins where nothing that a bundle says puts it."""

import base64
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from made_bundles import content
from receiver_world import CREATED, HighSide, LowSide

from tidegate import clock
from tidegate.clock import SOFTWARE_TIME, format_time, parse_time
from tidegate.config import TwoPeople
from tidegate.errors import (
    FormatError,
    KeyFileError,
    LoadError,
    NotReleasedError,
    SignatureError,
    StateError,
    UsageError,
)
from tidegate.state.meta import FLOOR_STEP_SECONDS, floor, set_floor
from tidegate.trust.keys import FileSigner, generate_key
from tidegate.trust.payload import Key
from tidegate.trust.rotation import create_channel_root, rotate
from tidegate_receiver.intake.admission import admit, deny
from tidegate_receiver.intake.outcomes import OutcomeKind, ReceiveOutcome
from tidegate_receiver.lowering import lower_floor
from tidegate_receiver.promotion.promotion import load
from tidegate_receiver.trusted_time import PLAUSIBLE_SECONDS, read_time, starting_floor

BLOBS = [content(1, 60_000)]
FAR = "2099-01-01T00:00:00Z"


def take(low: LowSide, high: HighSide, stick: Path, **changes: object) -> ReceiveOutcome:
    """A bundle of one small blob, written and received."""
    shutil.rmtree(stick, ignore_errors=True)
    low.write(low.bundle([content(int(str(changes.get("sequence", 1))), 4000)], **changes), stick)
    return high.receive_one(stick)


def own_clock(monkeypatch: pytest.MonkeyPatch, seconds: int) -> None:
    monkeypatch.setattr(clock, "now", lambda: seconds)
    monkeypatch.setattr("tidegate_receiver.trusted_time.now", lambda: seconds)


def known(high: HighSide) -> int:
    workspace = high.workspace()
    with workspace.state.reading() as tx:
        found = read_time(tx, workspace).floor
    workspace.state.close()
    return found


# --- where the floor begins -------------------------------------------------------------------


def test_the_floor_begins_where_the_channel_was_founded(high: HighSide) -> None:
    assert known(high) == CREATED


def test_a_channel_founded_in_2099_is_no_witness_of_time() -> None:
    keys = LowSide().keys
    signers = {role: [key] for role, key in keys.items()}
    made = create_channel_root("plant", ("plant-7",), signers, SOFTWARE_TIME + PLAUSIBLE_SECONDS + 1)
    assert starting_floor([made]) == SOFTWARE_TIME
    assert starting_floor([]) == SOFTWARE_TIME


def test_a_later_root_that_any_medium_may_bring_does_not_move_the_start(low: LowSide) -> None:
    longer = rotate(low.chain, [low.keys["root"]], CREATED + 10**8)
    assert starting_floor([longer]) == CREATED


def test_a_bundle_of_2099_on_a_fresh_high_side_waits_and_stops_nothing(
    low: LowSide, high: HighSide, tmp_path: Path
) -> None:
    outcome = take(low, high, tmp_path / "stick", created=FAR)
    assert (outcome.kind, outcome.exit_code) == (OutcomeKind.WAITING, 42)
    assert known(high) == CREATED
    following = take(low, high, tmp_path / "stick", sequence=2, expires="2027-01-01T00:00:00Z")
    assert following.kind is OutcomeKind.RECEIVED
    assert high.events() == ["receive", "quarantine", "ahead/ahead", "receive", "quarantine"]


@pytest.mark.parametrize("wrong", [0, 4_102_444_800], ids=["1970", "2100"])
def test_a_host_whose_clock_is_wrong_receives_all_the_same(
    wrong: int, low: LowSide, high: HighSide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_clock(monkeypatch, wrong)
    for week in range(4):
        created = CREATED + week * 6 * 24 * 3600
        outcome = take(low, high, tmp_path / "stick", sequence=week + 1, created=format_time(created))
        assert outcome.kind is OutcomeKind.RECEIVED
    assert known(high) == created


def test_a_clock_below_the_floor_is_one_alarm_until_it_is_right_again(
    low: LowSide, high: HighSide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = clock.now()
    own_clock(monkeypatch, 0)
    take(low, high, tmp_path / "stick")
    take(low, high, tmp_path / "stick", sequence=2)
    assert high.events().count("clock-alarm/clock-behind") == 1
    own_clock(monkeypatch, real)
    take(low, high, tmp_path / "stick", sequence=3)
    own_clock(monkeypatch, 0)
    take(low, high, tmp_path / "stick", sequence=4)
    assert high.events().count("clock-alarm/clock-behind") == 2


def test_one_bundle_moves_the_floor_by_seven_days_at_most(low: LowSide, high: HighSide, tmp_path: Path) -> None:
    take(low, high, tmp_path / "stick", created=format_time(CREATED + 10 * FLOOR_STEP_SECONDS))
    assert known(high) == CREATED + FLOOR_STEP_SECONDS


def test_a_good_clock_moves_the_floor_by_one_step_too(low: LowSide, high: HighSide, tmp_path: Path) -> None:
    low.write(low.bundle(BLOBS), tmp_path / "stick")
    high.receive_one(tmp_path / "stick", clock_trusted=True)
    assert known(high) == CREATED + FLOOR_STEP_SECONDS


# --- who lets it in ---------------------------------------------------------------------------


def test_what_waits_counts_for_nothing_and_cannot_be_loaded(low: LowSide, high: HighSide, tmp_path: Path) -> None:
    take(low, high, tmp_path / "stick", sequence=5)
    assert take(low, high, tmp_path / "stick", sequence=9000).kind is OutcomeKind.WAITING
    assert take(low, high, tmp_path / "stick", sequence=6).is_late is False
    assert take(low, high, tmp_path / "stick", sequence=9000).kind is OutcomeKind.DUPLICATE
    workspace = high.workspace()
    with pytest.raises(LoadError, match="is waiting"):
        load(workspace, "9000")
    workspace.state.close()


def test_an_admitted_number_counts_and_leaves_a_window_behind_it(low: LowSide, high: HighSide, tmp_path: Path) -> None:
    take(low, high, tmp_path / "stick", sequence=5)
    take(low, high, tmp_path / "stick", sequence=9000)
    workspace = high.workspace()
    decision = admit(workspace, "9000", workspace.signer("approver"), "asked Ada", trust_time=False)
    again = admit(workspace, "9000", workspace.signer("approver"), "asked Ada", trust_time=False)
    workspace.state.close()
    assert (decision.is_new, decision.holder, again.is_new) == (True, "ben", False)
    assert take(low, high, tmp_path / "stick", sequence=6).exit_code == 43
    assert take(low, high, tmp_path / "stick", sequence=8999).is_late
    (entry,) = [item for item in high.entries() if item["event"] == "approve"]
    assert entry["justification"] == "asked Ada"
    assert entry["approvers"][0]["holder"] == "ben"  # type: ignore[index]


def test_a_number_that_jumps_by_quadrillions_costs_nothing_to_list(
    low: LowSide, high: HighSide, tmp_path: Path
) -> None:
    from tidegate_receiver.intake.numbering import read_standing

    take(low, high, tmp_path / "stick", sequence=5)
    take(low, high, tmp_path / "stick", sequence=2**50)
    workspace = high.workspace()
    admit(workspace, str(2**50), workspace.signer("approver"), "asked Ada", trust_time=False)
    with workspace.state.reading() as tx:
        standing = read_standing(tx, workspace.root, low.chain.channel_id, 1)
    workspace.state.close()
    assert len(list(standing.missing)) == 1023


@pytest.mark.parametrize("trust_time", [True, False])
def test_an_admitted_time_moves_the_floor_only_where_it_is_said_to_be_right(
    trust_time: bool, low: LowSide, high: HighSide, tmp_path: Path
) -> None:
    take(low, high, tmp_path / "stick", created="2031-01-01T00:00:00Z")
    workspace = high.workspace()
    admit(workspace, "1", workspace.signer("approver"), "asked Ada", trust_time=trust_time)
    workspace.state.close()
    expected = parse_time("2031-01-01T00:00:00Z") if trust_time else CREATED + FLOOR_STEP_SECONDS
    assert known(high) == expected
    assert ("clock-change" in high.events()) is trust_time


def test_only_an_approver_lets_a_bundle_in(low: LowSide, high: HighSide, tmp_path: Path) -> None:
    take(low, high, tmp_path / "stick", created=FAR)
    workspace = high.workspace()
    reviewer = workspace.signer("reviewer")
    with pytest.raises(KeyFileError, match="not in role approver"):
        admit(workspace, "1", reviewer, "because", trust_time=False)
    with pytest.raises(KeyFileError, match="not in role approver"):
        deny(workspace, "1", reviewer, "no")
    workspace.state.close()
    assert [row.state for row in high.rows()] == ["waiting"]


def test_a_denied_bundle_is_gone_and_stays_denied(low: LowSide, high: HighSide, tmp_path: Path) -> None:
    take(low, high, tmp_path / "stick", created=FAR)
    workspace = high.workspace()
    deny(workspace, "1", workspace.signer("approver"), "nobody there packed it")
    with pytest.raises(StateError):
        admit(workspace, "1", workspace.signer("approver"), "changed my mind", trust_time=False)
    workspace.state.close()
    assert take(low, high, tmp_path / "stick", created=FAR).kind is OutcomeKind.DUPLICATE
    assert not list(high.root.glob("quarantine/*/blobs"))
    assert high.events()[-2:] == ["deny", "duplicate"]


def test_a_bundle_that_expired_while_it_waited_is_not_let_in(low: LowSide, high: HighSide, tmp_path: Path) -> None:
    from tidegate.errors import ExpiredError

    take(low, high, tmp_path / "stick", created=FAR, expires="2099-02-01T00:00:00Z")
    workspace = high.workspace()
    with workspace.state.transaction() as tx:
        set_floor(tx, parse_time("2099-03-01T00:00:00Z"))
    with pytest.raises(ExpiredError):
        admit(workspace, "1", workspace.signer("approver"), "late", trust_time=False)
    workspace.state.close()


# --- two people lower the floor ---------------------------------------------------------------


@pytest.fixture
def raised(high: HighSide) -> HighSide:
    """A high side whose floor was let up to 2099, with a second approver."""
    workspace = high.workspace()
    carla = generate_key(high.root / "carla.key", "carla", None)
    site = workspace.trust.site_chain()
    role = site.newest.roles["approver"]
    keys = {**site.newest.keys, carla.key_id: Key("ed25519", carla.public.hex(), "carla")}
    roles = {**site.newest.roles, "approver": replace(role, keys=tuple(sorted((*role.keys, carla.key_id))))}
    workspace.trust.advance_own(rotate(site, [workspace.signer("root")], CREATED, keys=keys, roles=roles))
    with workspace.state.transaction() as tx:
        set_floor(tx, parse_time(FAR))
    workspace.state.close()
    return high


def lower(high: HighSide, *signers: str, **more: object) -> object:
    workspace = high.workspace(**({"two_people": more.pop("policy")} if "policy" in more else {}))
    paths = {"ben": high.root / "keys/approver.key", "carla": high.root / "carla.key"}
    facts = {"to": CREATED, "reason": "a clock was wrong", "declared": (), "file": None, **more}
    try:
        return lower_floor(workspace, signers=tuple(workspace.signer_of(paths[name]) for name in signers), **facts)  # type: ignore[arg-type]
    finally:
        workspace.state.close()


def test_two_approvers_lower_the_floor(raised: HighSide) -> None:
    lower(raised, "ben", "carla")
    assert known(raised) == CREATED
    (entry,) = [item for item in raised.entries() if item["event"] == "clock-change"]
    assert {item["holder"] for item in entry["approvers"]} == {"ben", "carla"}  # type: ignore[attr-defined]


def test_one_approver_alone_does_not(raised: HighSide) -> None:
    for names in (("ben",), ("ben", "ben"), ("carla",)):
        with pytest.raises(NotReleasedError):
            lower(raised, *names)
    assert known(raised) == parse_time(FAR)


def test_two_approvers_on_two_machines_lower_the_floor_by_way_of_a_file(raised: HighSide, tmp_path: Path) -> None:
    act = tmp_path / "act.json"
    assert not lower(raised, "ben", file=act).is_done  # type: ignore[attr-defined]
    assert not lower(raised, "ben", file=act).is_done  # type: ignore[attr-defined]
    assert known(raised) == parse_time(FAR)
    assert lower(raised, "carla", file=act, to=None, reason=None).is_done  # type: ignore[attr-defined]
    assert known(raised) == CREATED
    with pytest.raises(FormatError, match="was made when the floor stood at"):
        lower(raised, "carla", file=act, to=None, reason=None)


def test_an_act_that_was_changed_on_the_way_is_not_taken(raised: HighSide, tmp_path: Path) -> None:
    act = tmp_path / "act.json"
    lower(raised, "ben", file=act)
    envelope = json.loads(act.read_bytes())
    payload = base64.b64decode(envelope["payload"]).replace(b"clock", b"cl0ck")
    envelope["payload"] = base64.b64encode(payload).decode()
    act.write_text(json.dumps(envelope, sort_keys=True, separators=(",", ":")))
    with pytest.raises(SignatureError):
        lower(raised, "carla", file=act, to=None)


def test_a_stranger_does_not_count_as_one_of_two(raised: HighSide) -> None:
    workspace = raised.workspace()
    stranger = FileSigner(b"s" * 32, "carla")
    with pytest.raises(NotReleasedError):
        lower_floor(
            workspace,
            to=CREATED,
            reason="x",
            signers=(workspace.signer("approver"), stranger),
            declared=(),
            file=None,
        )
    workspace.state.close()


def test_two_declared_people_lower_it_where_the_policy_says_so(raised: HighSide) -> None:
    with pytest.raises(UsageError, match="policy"):
        lower(raised, declared=("ben", "carla"))
    for names in (("ben",), ("ben", "Ben ")):
        with pytest.raises(NotReleasedError):
            lower(raised, declared=names, policy=TwoPeople.DECLARED)
    lower(raised, declared=("ben", "carla"), policy=TwoPeople.DECLARED)
    assert known(raised) == CREATED


def test_the_floor_is_not_raised_in_this_way(raised: HighSide) -> None:
    with pytest.raises(UsageError, match="not lower"):
        lower(raised, "ben", "carla", to=parse_time(FAR) + 1)


def test_after_lowering_what_2099_had_expired_is_taken_again(raised: HighSide, low: LowSide, tmp_path: Path) -> None:
    assert take(low, raised, tmp_path / "stick", expires="2027-01-01T00:00:00Z").exit_code == 37
    lower(raised, "ben", "carla")
    assert take(low, raised, tmp_path / "stick", expires="2027-01-01T00:00:00Z").kind is OutcomeKind.RECEIVED


# --- epochs -----------------------------------------------------------------------------------


def test_a_bundle_of_an_older_epoch_is_stale(low: LowSide, high: HighSide, tmp_path: Path) -> None:
    old = low.bundle(BLOBS, sequence=7)
    low.write(old, tmp_path / "old")
    low.rotate(epoch=2)
    assert take(low, high, tmp_path / "stick", sequence=1, epoch=2).kind is OutcomeKind.RECEIVED
    outcome = high.receive_one(tmp_path / "old")
    assert (outcome.kind, outcome.exit_code) == (OutcomeKind.REFUSED, 43)


def test_a_floor_in_the_state_counts_whatever_the_channels_say(high: HighSide) -> None:
    workspace = high.workspace()
    with workspace.state.transaction() as tx:
        set_floor(tx, 5)
        assert floor(tx) == 5
    workspace.state.close()
    assert known(high) == 5
