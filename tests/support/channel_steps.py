"""One step of a channel and what must have come of it; and how all is made good at the end.

The rules that choose the steps are in `channel_machine`.
"""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import ClassVar

from channel_model import TERMINAL, Copy, Fate, HighModel, HighRow, LowModel, LowRow, PrintedSlip
from channel_world import Packed, World, killed_at
from hypothesis.stateful import RuleBasedStateMachine
from receiver_world import SITE

from tidegate.errors import TidegateError

BLOB_BYTES = 20_000
FINAL_ROUNDS = 8
_HERE = {Fate.HELD, Fate.LOADED, Fate.INCOMPLETE}


@dataclass
class Stick:
    """A folder that stands for a medium, and the volumes on it."""

    path: Path
    copies: list[Copy]


@dataclass
class Backup:
    """A copy of one side's root, and of what the model knew then."""

    path: Path
    model: HighModel | LowModel
    root_version: int


class ChannelSteps(RuleBasedStateMachine):
    """Both real roots, what the model says of them, and all sticks."""

    first_day: ClassVar[World | None] = None
    #: how often what happened, over all weeks
    tally: ClassVar[Counter[str]] = Counter()

    def run(self, kill: int | None, doing: Callable[[], object]) -> object:
        """Do it; with `kill` after a first try that was killed at that step."""
        if kill is not None:
            killed_at(kill, doing)
        return doing()

    def pack_now(self, *, days: int = 0, full: bool = False, kill: int | None = None) -> Packed:
        data = {name: random.Random(f"{name}{v}").randbytes(BLOB_BYTES) for name, v in self.contents.items()}
        made = self.run(kill, lambda: self.world.pack(data, days=days, full=full))
        assert isinstance(made, Packed)
        self.low.pack(made)
        self.low.check_base(made)
        void = {number: told for number, told in self.low.void().items() if number != made.number}
        assert made.void == void, f"{made.void}, not {void}"
        self.high.graphs |= {digest: made.graphs[name] for name, digest in made.names.items()}
        self.all[made.bundle_id] = made
        return made

    def sendable(self) -> list[LowRow]:
        return [row for row in self.low.living() if row.has_file]

    def new_stick(self) -> Stick:
        self.sticks.append(Stick(self.world.stick(), []))
        return self.sticks[-1]

    def note_written(self, row: LowRow, stick: Stick, share: tuple[str, int] | None = None) -> None:
        row.was_begun = True
        packed = row.packed
        stick.copies.append(Copy(packed, self.carrier, self.root_version, share=share))
        first = self.written.setdefault((packed.epoch, packed.number), packed.bundle_id)
        assert first == packed.bundle_id, "a number was given twice"

    def take_out_now(self, row: LowRow, *, withdraws: bool, kill: int | None = None) -> None:
        number = row.packed.number
        refused = (
            not row.was_begun and not row.is_void if withdraws else not row.is_out and number in self.low.confirmed
        )
        try:
            self.run(kill, lambda: self.world.take_out(row.packed.bundle_id, withdraws=withdraws))
        except TidegateError as error:
            assert refused, error
            return
        assert not refused
        if row.is_out and not withdraws:
            return
        row.is_out = True
        if row.was_begun or row.is_void:
            row.is_void, row.reason = True, "it is bad" if withdraws else row.reason
        elif self.low.next_number == number + 1:
            self.low.next_number = number

    def begin_epoch(self) -> None:
        self.world.new_epoch()
        self.low.begin_epoch()
        self.root_version += 1
        self.carriers[self.root_version] = self.carriers[self.root_version - 1]
        self.epochs[self.root_version] = self.low.epoch

    def receive_now(self, sticks: list[Stick], kill: int | None = None) -> Counter[str]:
        copies = [item for stick in sticks for item in stick.copies]
        paths = [stick.path for stick in sticks]
        was_tried = kill is not None
        if kill is not None:
            killed_at(kill, lambda: self.world.receive(paths))
        killed = self.new_entries() if was_tried else []
        report = self.world.receive(paths)
        entries = killed + self.new_entries()
        newest = max(self.high.root_version, *(item.root_version for item in copies))
        self.high.know_root(newest, self.epochs[newest])
        valid = [
            item for item in copies if item.carrier in self.carriers[newest] and item.packed.epoch == self.high.epoch
        ]
        bundles = {item.packed.bundle_id: item.packed for item in valid}
        ended = {str(item.bundle_id): item for item in report.outcomes if item.bundle_id}
        assert set(ended) == set(bundles), (set(bundles) - set(ended), [str(item.error) for item in report.outcomes])
        told: Counter[str] = Counter()
        for packed in sorted(bundles.values(), key=lambda item: item.number):
            mine = [item for item in valid if item.packed.bundle_id == packed.bundle_id]
            allowed = self.expected(packed, mine)
            events = [f"{e['event']} {e['outcome']}" for e in entries if e.get("bundle") == packed.bundle_id]
            ends = [event for event in events if event in TERMINAL]
            assert len(ends) == 1 or (was_tried and len(ends) in (1, 2)), (ends, allowed)
            last = TERMINAL[ends[-1]]
            if was_tried and "duplicate" in last:  # the try that was killed had done it all
                last = TERMINAL[ends[0]] if len(ends) == 2 else {*last, "received", "waiting"}
            (outcome,) = last & allowed or {f"{ends} {ended[packed.bundle_id].error}"}
            assert outcome in allowed, f"{packed.number}: {outcome}, not {allowed}"
            self.take(packed, mine, outcome, ended[packed.bundle_id].alarm is not None)
            told[outcome] += 1
            self.tally[outcome] += 1
        if not was_tried:
            rejected = sum(entry["event"] == "media-rejected" for entry in entries)
            assert rejected == len(copies) - len(valid)
        return told

    def expected(self, packed: Packed, copies: list[Copy]) -> set[str]:
        outcome = self.high.judge(packed, self.clock.high)
        if outcome not in {"received", "waiting"}:
            return {outcome}
        if any(item.is_readable and item.share is None for item in copies) or not packed.brought:
            return {outcome}
        row = self.high.rows.get(packed.bundle_id)
        shares = {item.share for item in copies if item.share} | (row.shares if row else set())
        if len(shares) >= 2:
            return {outcome}
        damaged = len(copies) - len(shares & {item.share for item in copies})
        may_be_whole = (row is not None and row.has_pieces) or damaged > 1 or (damaged and shares)
        return {"incomplete", outcome} if may_be_whole else {"incomplete"}

    def take(self, packed: Packed, copies: list[Copy], outcome: str, is_disputed: bool) -> None:
        before = self.high.rows.get(packed.bundle_id)
        shares = {item.share for item in copies if item.share} | (before.shares if before else set())
        self.high.take(packed, outcome)
        row = self.high.rows.get(packed.bundle_id)
        if row is None:
            return
        if outcome == "incomplete":
            row.shares = shares
        if outcome in {"received", "waiting"}:
            row.is_disputed = is_disputed
            row.voids = outcome == "received"

    def new_entries(self) -> list[dict[str, object]]:
        found = self.world.entries("high", self.seen)
        self.seen += len(found)
        return found

    def loadable(self) -> list[HighRow]:
        return [row for row in self.high.rows.values() if row.packed.bundle_id in self.all]

    def load_now(self, row: HighRow, kill: int | None = None) -> str:
        wanted = self.high.may_load(row)
        was_loaded = row.fate is Fate.LOADED
        try:
            self.run(kill, lambda: self.world.load(row.packed.bundle_id))
        except TidegateError as error:
            assert type(error).__name__ == wanted, (row, wanted, error)
            self.tally[f"load {wanted}"] += 1
            return wanted
        assert not wanted, f"{wanted} was expected"
        self.high.load(row)
        self.tally["loaded"] += 1
        mine = [
            f"{e['event']} {e['outcome']}"
            for e in self.world.entries("high")
            if e.get("bundle") == row.packed.bundle_id
        ]
        chain = ["receive done", "quarantine done", "promote begun", "promote done", "load done"]
        places = [mine.index(event) for event in chain]
        assert places == sorted(places), mine
        assert was_loaded or mine.count("promote done") >= 1
        return ""

    def decide_now(self, row: HighRow, *, denies: bool) -> None:
        is_ours = row.packed.bundle_id in self.all
        if row.fate is Fate.REFUSED:
            return
        if denies or not is_ours:
            self.world.deny(row.packed.bundle_id)
            row.fate, row.voids = Fate.DENIED, False
            return
        expires = row.packed.expires
        is_expired = expires is not None and expires <= self.high.floor
        try:
            self.world.admit(row.packed.bundle_id)
        except TidegateError as error:
            assert is_expired, error
            return
        assert not is_expired
        row.fate, row.voids = Fate.HELD, True
        self.high.count(row.packed)

    def print_now(self, *, with_proof: bool = False) -> PrintedSlip:
        held, missing = self.high.held(), self.high.missing()
        made = self.world.slip(with_proof=with_proof)
        assert set(made.held) <= set(held), f"held {made.held}, not {sorted(held)}"
        assert set(made.missing) <= missing, f"missing {made.missing}, not {sorted(missing)}"
        # 400 bytes do not name every number of many short ranges: it says nothing of the others, and how many they are.
        unsaid = len(held) - len(set(made.held)) + len(missing) - len(set(made.missing))
        assert unsaid == made.left_out, f"held {made.held} of {sorted(held)}, missing {made.missing} of {missing}"
        held, missing = {number: held[number] for number in made.held}, set(made.missing)
        for row in (*self.high.rows.values(), *self.high.old.values()):
            row.was_told = row.was_told or row.was_let_go
        said = PrintedSlip(made.slip.text(), self.high.epoch, made.slip.statement.size, held, frozenset(missing))
        if made.proof is not None:
            said = replace(said, proof=made.proof.text())
        self.slips.append(said)
        return said

    def read_now(self, slip: PrintedSlip, kill: int | None = None) -> str:
        wanted = self.low.read(slip)
        try:
            text = f"{slip.text}/{slip.proof}" if slip.proof else slip.text
            report = self.run(kill, lambda: self.world.read_slip(text))
        except TidegateError as error:
            if slip.proof and self.was_high_put_back and type(error).__name__ == "SlipForkError":
                return "SlipForkError"  # what was co-signed is of the ledger that was lost
            assert type(error).__name__ == wanted, (slip, wanted, error)
            self.tally[f"slip {wanted}"] += 1
            return wanted
        assert wanted in {"", "nothing"}, f"{wanted} was expected"
        if not wanted:
            assert kill is not None or getattr(report, "is_new")  # noqa: B009
            self.low.confirm(slip)
        return ""

    def confirmed_here(self) -> object:
        from tidegate_sender.slips.memory import get_confirmed

        with self.world.low() as low, low.state.reading() as tx:
            return get_confirmed(tx, low.trust.own_channel().channel_id, self.low.epoch, SITE)

    def low_backups(self) -> list[Backup]:
        return [item for item in self.backups["low"] if item.root_version == self.root_version]

    def make_good(self) -> None:
        """Deliver everything that still can be delivered, as the documents for operators say, until nothing is missing.

        Where somebody with the channel's keys took a number, the site holds what was never sent: a new epoch ends that.
        """
        if any(row.fate in _HERE and row.packed.bundle_id not in self.all for row in self.high.rows.values()):
            self.begin_epoch()
        for turn in range(FINAL_ROUNDS):
            self.settle()
            slip = self.print_now()
            answer = self.read_now(slip)
            if answer in {"SlipOldError", "SlipForkError"}:
                self.world.trust_site_anew()
                self.low.last_slip = 0
                answer = self.read_now(slip)
            assert not answer or slip.epoch < self.low.epoch, answer
            self.send_missing(slip, is_last_try=turn > 1)
            made = self.pack_now(full=turn > 2)
            row = self.low.rows[made.bundle_id]
            stick = self.new_stick()
            self.world.send(made, stick.path)
            self.note_written(row, stick)
            self.receive_now([stick])
            self.settle()
            if self.is_good():
                break
        assert self.is_good(), (self.high.missing(), self.low.void())

    def send_missing(self, slip: PrintedSlip, *, is_last_try: bool) -> None:
        """Send again what the site misses; give up, and say so, what cannot be sent or is not taken."""
        if slip.epoch < self.low.epoch:
            return
        rows = {row.packed.number: row for row in self.low.rows.values() if row.was_begun}
        for number in sorted(slip.missing & set(rows)):
            row = rows[number]
            if row.is_void:
                continue
            stick = self.new_stick()
            went, _ = self.world.resend([number], stick.path)
            if went:
                self.note_written(row, stick)
                self.receive_now([stick])
            if number in self.high.missing() and (not went or is_last_try):
                self.take_out_now(row, withdraws=number in self.low.confirmed)

    def settle(self) -> None:
        """Admit what is the channel's own, deny what is not, accept ledgers, and load by number."""
        for row in self.high.of(Fate.WAITING):
            self.decide_now(row, denies=row.packed.bundle_id not in self.all)
        for row in self.high.of(Fate.HELD):
            if row.packed.bundle_id in self.all:
                if row.is_disputed:
                    self.world.accept(row.packed.bundle_id)
                    row.is_disputed = False
                self.load_now(row)

    def is_good(self) -> bool:
        """Whether the stage shows what is wanted, and nothing that can still come is missing."""
        newest = self.low.living()[-1].packed
        shown = {name: digest for name, (_, digest) in self.high.names.items()}
        arrived = all(shown.get(name) == digest for name, digest in newest.names.items())
        given = {row.packed.number for row in self.low.rows.values() if row.was_begun or not row.is_out}
        due = self.high.missing() & given
        return arrived and not due

    def look_at_everything(self) -> None:
        """Both ledgers verify, and each blob of stage, depot and quarantine is what its name says."""
        self.world.verify("high")
        self.world.verify("low")
        root = self.world.folder / "high"
        for layout in (root / "depot", root / "stages" / "default", *(root / "quarantine").iterdir()):
            for blob in (layout / "blobs" / "sha256").glob("*"):
                assert sha256(blob.read_bytes()).hexdigest() == blob.name, blob
        for _, digest in self.high.names.values():
            for part in self.high.graphs[digest]:
                assert (root / "stages/default/blobs/sha256" / part.removeprefix("sha256:")).is_file(), digest
