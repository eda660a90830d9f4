"""The receiver as witness of the low side's ledger: linked, unlinked, forked, late; and covers that were changed."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from ledgers import slow_root
from receiver_world import HighSide, LowSide, SignedBundle, signer

from tidegate.bundle.cover import Piece, PieceType
from tidegate.errors import HostError, LedgerForkError, NotReleasedError
from tidegate.ledger.checkpoint import Checkpoint, NoteKey, open_checkpoint, sign_checkpoint
from tidegate.ledger.log_copy import verify_copy
from tidegate.ledger.merkle import leaf_hash, subtree_root
from tidegate.ledger.proofs import consistency_path, read_range
from tidegate.ledger.riding import Proof, RidingEntries, build_entries, build_proofs
from tidegate.ledger.witness_folder import channel_keys, log_copy
from tidegate.ledger.witness_memory import Memory, Relation, get_memory
from tidegate_receiver.intake.outcomes import OutcomeKind, ReceiveOutcome
from tidegate_receiver.intake.witness_heard import witness_heard
from tidegate_receiver.promotion.promotion import load


@dataclass
class Story:
    """A ledger as somebody with its key tells it: numbered entries, one kind of them from `turn` on."""

    low: LowSide
    turn: int = 10**9
    word: str = "entry"
    _leaves: list[bytes] = field(default_factory=list)

    def entry(self, number: int) -> bytes:
        return f"{self.word if number >= self.turn else 'entry'} {number}".encode()

    def read(self, level: int, index: int) -> bytes:
        return subtree_root([leaf_hash(self.entry(n)) for n in range(index << level, (index + 1) << level)])

    def root(self, size: int) -> bytes:
        return slow_root([self.entry(number) for number in range(size)])

    def checkpoint(self, size: int) -> Checkpoint:
        return sign_checkpoint(f"{self.low.name}/low", size, self.root(size), self.low.keys["ledger"])

    def pieces(self, size: int, first: int = 0, proofs: tuple[int, ...] = ()) -> tuple[Piece, ...]:
        riding = RidingEntries(first, read_range(first, self.read).nodes, tuple(map(self.entry, range(first, size))))
        made = [Proof(old, self.root(old), consistency_path(old, size, self.read)) for old in proofs]
        return (
            Piece(PieceType.LEDGER_CHECKPOINT, self.checkpoint(size).data),
            Piece(PieceType.LEDGER_ENTRIES, build_entries(riding, self.low.keys["ledger"])),
            Piece(PieceType.LEDGER_PROOFS, build_proofs(made)),
        )


@dataclass
class World:
    """A channel whose covers say what a test wants, and a receiver."""

    folder: Path
    low: LowSide
    high: HighSide
    bundles: list[SignedBundle] = field(default_factory=list)

    def carry(self, pieces: tuple[Piece, ...], sequence: int | None = None) -> ReceiveOutcome:
        number = sequence or len(self.bundles) + 1
        bundle = self.low.bundle([b"content %d" % number], pieces=pieces, sequence=number)
        self.bundles.append(bundle)
        medium = self.folder / f"stick-{len(self.bundles)}"
        self.low.write(bundle, medium)
        return self.high.receive_one(medium)

    def memory(self) -> Memory:
        workspace = self.high.workspace()
        with workspace.state.reading() as tx:
            return get_memory(tx, self.low.chain.channel_id)

    def copied(self) -> dict[int, bytes]:
        copy = log_copy(self.high.workspace(), self.low.chain.channel_id)
        return {number: data for run in self.memory().runs for number, data in copy.entries(run)}

    def alarms(self) -> list[str]:
        return [str(item["reason"]) for item in self.high.entries() if item["event"] == "ledger-alarm"]

    def verify(self) -> None:
        verify_copy(log_copy(self.high.workspace(), self.low.chain.channel_id), self.memory())


@pytest.fixture
def world(tmp_path: Path) -> World:
    low = LowSide()
    return World(tmp_path, low, HighSide.make(tmp_path / "high", low))


def test_the_first_head_is_remembered_and_the_next_one_goes_on_from_it(world: World) -> None:
    story = Story(world.low)
    assert world.carry(story.pieces(5)).ledger == "first"
    assert world.carry(story.pieces(9, first=5)).ledger == "linked"
    assert world.copied() == {number: story.entry(number) for number in range(9)}
    assert [run.first for run in world.memory().runs] == [0]
    assert world.high.events().count("witnessed") == 2
    assert world.alarms() == []
    world.verify()


def test_entries_that_were_left_out_are_a_hole_and_a_proof_links_over_it(world: World) -> None:
    story = Story(world.low)
    world.carry(story.pieces(5))
    outcome = world.carry(story.pieces(20, first=15, proofs=(5,)))
    assert outcome.ledger == "linked"
    assert sorted(world.copied()) == [*range(5), *range(15, 20)]
    assert "entries before 15 are not here" in str(world.high.entries())
    world.verify()
    assert world.carry(story.pieces(22, first=3)).ledger == "linked"  # unconfirmed entries ride again
    assert world.copied() == {number: story.entry(number) for number in range(22)}
    assert [(run.first, run.end) for run in world.memory().runs] == [(0, 22)]


def test_one_that_reaches_back_to_nothing_is_unlinked_and_the_next_proof_links_it_up(world: World) -> None:
    story = Story(world.low)
    world.carry(story.pieces(5))
    outcome = world.carry(story.pieces(20, first=15))
    assert (outcome.kind, outcome.ledger, outcome.exit_code) == (OutcomeKind.RECEIVED, "unlinked", 0)
    assert "does not reach back" in outcome.warning
    assert world.alarms() == ["unlinked"]
    assert [head.size for head in world.memory().heads if not head.is_linked] == [20]
    assert world.carry(story.pieces(30, first=25, proofs=(5, 20))).ledger == "linked"
    assert all(head.is_linked for head in world.memory().heads)
    world.verify()


def test_a_head_that_is_linked_to_an_unlinked_one_alone_stays_unlinked(world: World) -> None:
    world.carry(Story(world.low).pieces(5))
    other = Story(world.low, turn=3, word="other")
    assert world.carry(other.pieces(20, first=15)).ledger == "unlinked"
    assert world.carry(other.pieces(30, first=25, proofs=(20,))).ledger == "unlinked"
    outcome = world.carry(other.pieces(40, first=35, proofs=(5, 30)))
    assert isinstance(outcome.alarm, LedgerForkError)


@pytest.mark.parametrize(
    ("size", "first", "proofs"),
    [(5, 0, ()), (9, 4, ()), (9, 5, ()), (9, 7, (5,)), (4, 0, ()), (4, 2, ())],
    ids=["same size", "entries overlap", "entries meet", "proof", "smaller", "smaller in part"],
)
def test_a_sender_that_tells_two_stories_is_a_fork(
    world: World, size: int, first: int, proofs: tuple[int, ...]
) -> None:
    world.carry(Story(world.low).pieces(5))
    outcome = world.carry(Story(world.low, turn=2, word="other").pieces(size, first, proofs))
    assert (outcome.kind, outcome.exit_code) == (OutcomeKind.RECEIVED, 63)
    assert isinstance(outcome.alarm, LedgerForkError)
    assert world.alarms() == ["ledger-fork"]
    (folder,) = (world.high.root / "evidence").iterdir()
    key = NoteKey("plant/low", world.low.keys["ledger"].public)
    sides = {name: open_checkpoint((folder / name).read_bytes(), key) for name in ("remembered", "received")}
    assert sides["remembered"] == Story(world.low).checkpoint(5)
    assert sides["received"] == Story(world.low, turn=2, word="other").checkpoint(size)
    assert {"cover", "proofs"} <= {path.name for path in folder.iterdir()}
    assert sorted(world.copied()) == list(range(5))  # nothing of the other story came in
    assert world.copied() == {number: Story(world.low).entry(number) for number in range(5)}


def test_a_forked_bundle_waits_and_the_one_before_it_does_not(world: World) -> None:
    world.carry(Story(world.low).pieces(5))
    world.carry(Story(world.low, turn=2, word="other").pieces(9))
    workspace = world.high.workspace()
    with pytest.raises(NotReleasedError, match="contradicts"):
        load(workspace, world.bundles[1].bundle_id)


def test_a_fork_told_twice_is_one_alarm(world: World) -> None:
    world.carry(Story(world.low).pieces(5))
    other = Story(world.low, turn=2, word="other")
    assert world.carry(other.pieces(9)).exit_code == 63
    assert world.carry(other.pieces(9)).exit_code == 63
    assert world.alarms() == ["ledger-fork"]
    assert world.carry(Story(world.low).pieces(12, first=4)).ledger == "linked"


def test_a_late_bundle_is_no_fork(world: World) -> None:
    story = Story(world.low)
    world.carry(story.pieces(5), sequence=1)
    world.carry(story.pieces(20, first=12, proofs=(5, 9)), sequence=3)
    assert world.carry(story.pieces(9, first=5), sequence=2).ledger == "linked"
    assert world.alarms() == []
    assert sorted(world.copied()) == [*range(9), *range(12, 20)]
    world.verify()


def test_the_same_head_again_is_no_second_entry(world: World) -> None:
    story = Story(world.low)
    world.carry(story.pieces(5))
    world.carry(story.pieces(5))
    assert world.high.events().count("witnessed") == 1


@pytest.mark.parametrize("kept", [(), (0,), (1, 2)], ids=["all taken away", "the checkpoint alone", "no checkpoint"])
def test_pieces_that_somebody_took_away_make_it_unlinked_and_no_more(world: World, kept: tuple[int, ...]) -> None:
    story = Story(world.low)
    world.carry(story.pieces(5))
    pieces = story.pieces(9, first=5)
    outcome = world.carry(tuple(pieces[place] for place in kept))
    assert (outcome.kind, outcome.exit_code) == (OutcomeKind.RECEIVED, 0)
    assert world.alarms() == ["unlinked"]
    assert world.carry(story.pieces(12, first=4)).ledger == "linked"
    world.verify()


@pytest.mark.parametrize("place", [0, 1, 2])
def test_pieces_of_a_forger_are_no_fork(world: World, place: int) -> None:
    """Whoever holds a medium, without a ledger key, can at most make it unlinked."""
    story, forged = (
        Story(world.low),
        Story(LowSide(keys={"ledger": LowSide("x").keys["ledger"]}), turn=2, word="forged"),
    )
    world.carry(story.pieces(5))
    pieces = list(story.pieces(9, first=7, proofs=(5,)))
    pieces[place] = forged.pieces(9, first=7, proofs=(5,))[place]
    outcome = world.carry(tuple(pieces))
    assert outcome.alarm is None
    assert outcome.exit_code == 0
    assert set(world.alarms()) <= {"unlinked"}


def test_a_channel_without_any_ledger_in_its_covers_is_left_in_peace(world: World) -> None:
    assert world.carry(()).ledger == ""
    assert world.alarms() == []


def test_a_dry_run_remembers_nothing(world: World) -> None:
    from tidegate_receiver.intake.intake import ReceiveOptions, receive

    bundle = world.low.bundle([b"content"], pieces=Story(world.low).pieces(5))
    world.low.write(bundle, world.folder / "stick")
    workspace = world.high.workspace()
    receive(workspace, world.folder / "stick", ReceiveOptions(dry_run=True))
    assert world.memory() == Memory()


def test_the_copy_survives_a_crash_between_its_file_and_the_state(world: World) -> None:
    story = Story(world.low)
    world.carry(story.pieces(5))
    (path,) = (world.high.root / "witness" / world.low.chain.channel_id).glob("*.entries")
    with path.open("ab") as file:
        file.write(b"\x00\x05half")
    world.carry(story.pieces(9, first=5))
    assert world.copied() == {number: story.entry(number) for number in range(9)}


def test_a_changed_copy_is_found(world: World) -> None:
    from tidegate.errors import LedgerDamagedError

    story = Story(world.low)
    world.carry(story.pieces(5))
    (path,) = (world.high.root / "witness" / world.low.chain.channel_id).glob("*.entries")
    path.write_bytes(path.read_bytes().replace(b"entry 3", b"entry X"))
    with pytest.raises(LedgerDamagedError, match="at size 5"):
        world.verify()


def test_memory_is_bounded(world: World) -> None:
    from tidegate.ledger.riding import read_riding
    from tidegate.ledger.witness_memory import HEADS_MAX, judge

    story, memory = Story(world.low), Memory()
    for size in range(1, 100):
        riding = read_riding(story.pieces(size, first=max(0, size - 2)), channel_keys(world.low.chain.newest))
        memory = judge(memory, riding, str(size), {}).memory
    assert len(memory.heads) == HEADS_MAX


def test_a_state_that_was_made_anew_still_knows_what_was_seen(world: World) -> None:
    from tidegate.ledger.witness_folder import load_memory
    from tidegate.state.meta import delete_meta

    world.carry(Story(world.low).pieces(5))
    workspace = world.high.workspace()
    with workspace.state.transaction() as tx:
        delete_meta(tx, f"witness.{world.low.chain.channel_id}")
    assert load_memory(workspace, world.low.chain.channel_id).newest is not None
    workspace.state.close()
    assert world.carry(Story(world.low, turn=2, word="other").pieces(9)).exit_code == 63


# --- what heartbeats tell (W-11) --------------------------------------------------------------


def hear(world: World, checkpoint: Checkpoint) -> Relation | None:
    workspace = world.high.workspace()
    relation = witness_heard(workspace, world.low.chain, "north", checkpoint.data)
    workspace.recorder.drain()
    return relation


def test_a_heartbeat_before_any_bundle_is_no_beginning(world: World) -> None:
    story = Story(world.low)
    assert hear(world, story.checkpoint(8)) is Relation.UNLINKED
    assert world.carry(story.pieces(5)).ledger == "first"
    assert world.carry(story.pieces(12, first=5)).ledger == "linked"
    assert all(head.is_linked for head in world.memory().heads)  # the heartbeat's too: the entries show its root
    assert world.alarms() == []
    world.verify()


def test_only_the_last_heartbeat_is_remembered(world: World) -> None:
    story = Story(world.low)
    world.carry(story.pieces(5))
    for size in (7, 9, 11):
        assert hear(world, story.checkpoint(size)) is Relation.UNLINKED
    assert [(head.size, head.is_linked) for head in world.memory().heads] == [(5, True), (11, False)]
    told = verify_copy(log_copy(world.high.workspace(), world.low.chain.channel_id), world.memory())
    assert (told.size, told.holes, told.unlinked, told.heard) == (5, (), (), 11)
    assert hear(world, story.checkpoint(5)) is hear(world, story.checkpoint(3)) is Relation.LINKED
    assert world.alarms() == []


@pytest.mark.parametrize("size", [5, 4], ids=["same size", "smaller"])
def test_a_heartbeat_that_tells_another_story_is_one_alarm_with_evidence(world: World, size: int) -> None:
    story, other = Story(world.low), Story(world.low, turn=2, word="other")
    world.carry(story.pieces(5))
    for _ in range(2):
        assert hear(world, other.checkpoint(size)) is Relation.FORK
    assert world.alarms() == ["ledger-fork"]
    (folder,) = (world.high.root / "evidence").iterdir()
    key = NoteKey("plant/low", world.low.keys["ledger"].public)
    assert open_checkpoint((folder / "remembered").read_bytes(), key) == story.checkpoint(5)
    assert open_checkpoint((folder / "received").read_bytes(), key) == other.checkpoint(size)
    assert world.carry(story.pieces(9, first=5)).ledger == "linked"


def test_a_bundle_that_contradicts_the_last_heartbeat_is_a_fork(world: World) -> None:
    world.carry(Story(world.low).pieces(5))
    assert hear(world, Story(world.low, turn=6, word="other").checkpoint(9)) is Relation.UNLINKED
    outcome = world.carry(Story(world.low).pieces(12, first=5))
    assert isinstance(outcome.alarm, LedgerForkError)
    assert world.alarms() == ["ledger-fork"]


def test_a_checkpoint_of_another_key_says_nothing(world: World) -> None:
    story = Story(world.low)
    world.carry(story.pieces(5))
    forged = sign_checkpoint("plant/low", 5, bytes(32), signer("somebody else"))
    assert hear(world, forged) is None
    assert world.alarms() == []
    assert len(world.memory().heads) == 1


def test_a_sender_of_many_stories_is_one_alarm(world: World) -> None:
    world.carry(Story(world.low).pieces(5))
    for number in range(20):
        assert hear(world, Story(world.low, turn=2, word=f"story {number}").checkpoint(4)) is Relation.FORK
    assert world.alarms() == ["ledger-fork"]
    assert len(world.memory().forks) == 1


def test_a_heartbeat_of_a_fork_that_a_cover_brought_is_no_second_alarm(world: World) -> None:
    world.carry(Story(world.low).pieces(5))
    other = Story(world.low, turn=2, word="other")
    world.carry(other.pieces(5))
    before = world.memory()
    assert hear(world, other.checkpoint(5)) is Relation.FORK
    assert world.alarms() == ["ledger-fork"]
    assert world.memory() == before  # the fork keeps the name of its bundle


def test_what_a_cover_said_again_after_a_heartbeat_is_not_forgotten_with_it(world: World) -> None:
    story, other = Story(world.low), Story(world.low, turn=8, word="other")
    world.carry(story.pieces(5))
    hear(world, story.checkpoint(9))
    assert world.carry(story.pieces(9, first=7)).ledger == "unlinked"
    hear(world, story.checkpoint(12))
    assert hear(world, other.checkpoint(9)) is Relation.FORK


def test_entries_of_a_cover_that_is_not_linked_up_answer_too(world: World) -> None:
    story = Story(world.low)
    world.carry(story.pieces(5))
    world.carry(story.pieces(20, first=10))
    assert hear(world, Story(world.low, turn=12, word="other").checkpoint(15)) is Relation.FORK
    assert hear(world, story.checkpoint(15)) is Relation.LINKED


def test_own_entries_are_not_searched_where_that_would_take_too_long(world: World) -> None:
    world.carry(Story(world.low).pieces(5))
    workspace, other = world.high.workspace(), Story(world.low, turn=2, word="other")
    note = other.checkpoint(4).data
    assert witness_heard(workspace, world.low.chain, "north", note, may_search=False) is None
    assert witness_heard(workspace, world.low.chain, "north", other.checkpoint(5).data, may_search=False) is (
        Relation.FORK  # no search: a head of that size is remembered
    )


def test_a_cover_without_a_ledger_is_no_alarm_where_only_a_heartbeat_spoke_of_one(world: World) -> None:
    hear(world, Story(world.low).checkpoint(8))
    assert world.carry(()).ledger != "unlinked"
    assert world.alarms() == []


def test_a_lock_that_cannot_be_opened_is_an_error_of_ours(world: World) -> None:
    (world.high.root / "witness" / ".lock").mkdir(parents=True)
    with pytest.raises(HostError):
        hear(world, Story(world.low).checkpoint(8))
