"""Random weeks of a whole channel: what people, thieves and disks do to it, and what must hold after each step.

Each rule does one thing with the real roots of `channel_world` and says with `channel_model` what must have come of
it. After each step the stage shows what the model says and nothing else, no number was given twice, and every look
at a medium left exactly one outcome for each bundle on it. At the end everything that still can arrive is made to.
"""

import contextlib
import copy
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import ClassVar

from channel_model import TERMINAL, Copy, Fate, HighModel, HighRow, LowModel, LowRow, PrintedSlip
from channel_world import DAY, Clock, Packed, World, damage, describe, killed_at
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from receiver_world import SITE, signer

from tidegate import clock, files
from tidegate.errors import TidegateError

BLOB_BYTES = 20_000
NAMES = ("a", "b", "c")
PICK = st.integers(0, 1000)
#: at which sync or commit a command is killed before it is run again; mostly it is not
KILL = st.one_of(st.none(), st.none(), st.integers(1, 40))
FINAL_ROUNDS = 8
#: a preamble carries 64 KiB of roots; who missed more begins with a pairing file
ROTATIONS_MAX = 8


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


class ChannelMachine(RuleBasedStateMachine):
    """One channel from its first day to the day on which all is made good."""

    first_day: ClassVar[World | None] = None
    #: how often what happened, over all weeks
    tally: ClassVar[Counter[str]] = Counter()

    # --- the first day ---------------------------------------------------------------------------

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="channel-"))
        self.was_syncing, files.SYNCS.enabled = files.SYNCS.enabled, False
        self.clock = Clock()
        self.real_time, clock.time = clock.time, self.clock  # type: ignore[assignment]
        if ChannelMachine.first_day is None:
            ChannelMachine.first_day = World.make(Path(tempfile.mkdtemp(prefix="first-day-")), Clock())
        self.world = ChannelMachine.first_day.copy(self.folder, self.clock)
        self.low, self.high = LowModel(), HighModel()
        self.contents = dict.fromkeys(NAMES[:2], 1)
        self.sticks: list[Stick] = []
        self.slips: list[PrintedSlip] = []
        self.backups: dict[str, list[Backup]] = {"low": [], "high": []}
        self.carriers = {1: {1}}  # by version of the root
        self.epochs = {1: 1}
        self.carrier = self.root_version = 1
        self.seen = len(self.world.entries("high"))
        #: (epoch, number) to the one bundle of which a copy was written
        self.written: dict[tuple[int, int], str] = {}
        self.all: dict[str, Packed] = {}
        self.forged = 0
        self.was_high_put_back = False

    def teardown(self) -> None:
        if not hasattr(self, "folder"):
            return
        try:
            self.make_good()
            self.look_at_everything()
        finally:
            files.SYNCS.enabled = self.was_syncing
            clock.time = self.real_time  # type: ignore[assignment]
            shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, kill: int | None, doing: Callable[[], object]) -> object:
        """Do it; with `kill` after a first try that was killed at that step."""
        if kill is not None:
            killed_at(kill, doing)
        return doing()

    # --- the low side ----------------------------------------------------------------------------

    @rule(pick=PICK, days=st.sampled_from([0, 0, 3]), full=st.booleans(), kill=KILL)
    def pack(self, pick: int, days: int, full: bool, kill: int | None) -> None:
        self.contents[NAMES[pick % len(NAMES)]] = pick
        self.pack_now(days=days, full=full, kill=kill)

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

    @precondition(lambda self: self.sendable())
    @rule(pick=PICK, on_used=st.booleans(), kill=KILL)
    def send(self, pick: int, on_used: bool, kill: int | None) -> None:
        row = self.sendable()[-1 - pick % min(3, len(self.sendable()))]
        stick = self.sticks[pick % len(self.sticks)] if on_used and self.sticks else self.new_stick()
        if any(item.packed == row.packed for item in stick.copies):
            stick = self.new_stick()
        self.run(kill, lambda: self.world.send(row.packed, stick.path))
        self.note_written(row, stick)

    def new_stick(self) -> Stick:
        self.sticks.append(Stick(self.world.stick(), []))
        return self.sticks[-1]

    def note_written(self, row: LowRow, stick: Stick, share: tuple[str, int] | None = None) -> None:
        row.was_begun = True
        packed = row.packed
        stick.copies.append(Copy(packed, self.carrier, self.root_version, share=share))
        first = self.written.setdefault((packed.epoch, packed.number), packed.bundle_id)
        assert first == packed.bundle_id, "a number was given twice"

    @precondition(lambda self: self.sendable())
    @rule(pick=PICK)
    def send_striped(self, pick: int) -> None:
        row = self.sendable()[-1]
        if not row.packed.brought or any(c.packed == row.packed and c.share for s in self.sticks for c in s.copies):
            return
        sticks = [self.new_stick() for _ in range(3)]
        self.world.send_striped(row.packed, [stick.path for stick in sticks])
        for number, stick in enumerate(sticks):
            self.note_written(row, stick, (row.packed.bundle_id, number))

    @precondition(lambda self: self.low.rows)
    @rule(pick=PICK)
    def resend(self, pick: int) -> None:
        row = list(self.low.rows.values())[pick % len(self.low.rows)]
        number = row.packed.number
        stick = self.new_stick()
        went, _ = self.world.resend([number], stick.path)
        sent = [row for row in self.low.rows.values() if row.was_begun and row.packed.number == number]
        can = [row for row in sent if row.has_file and not row.is_out]
        assert went == [row.packed.number for row in can]
        for found in can:
            self.note_written(found, stick)

    @rule()
    def clean_low(self) -> None:
        from tidegate.retention import Kind

        for item in self.world.cleanup("low").goes:
            if item.kind is Kind.BUNDLE_FILE and item.bundle_id in self.low.rows:
                row = self.low.rows[item.bundle_id]
                assert row.was_begun, "it was never sent"
                row.has_file = False

    @precondition(lambda self: self.low.rows)
    @rule(pick=PICK, withdraws=st.booleans(), kill=KILL)
    def take_out(self, pick: int, withdraws: bool, kill: int | None) -> None:
        row = list(self.low.rows.values())[pick % len(self.low.rows)]
        self.take_out_now(row, withdraws=withdraws, kill=kill)

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

    @precondition(lambda self: self.root_version < ROTATIONS_MAX)
    @rule(keep_old=st.booleans())
    def rotate_carrier(self, keep_old: bool) -> None:
        self.world.rotate("carrier", keep_old=keep_old)
        before = self.carriers[self.root_version] - (set() if keep_old else {self.carrier})
        self.carrier += 1
        self.root_version += 1
        self.carriers[self.root_version] = {*before, self.carrier}
        self.epochs[self.root_version] = self.low.epoch

    @precondition(lambda self: self.root_version < ROTATIONS_MAX and self.low.epoch < 3)
    @rule()
    def new_epoch(self) -> None:
        self.begin_epoch()

    def begin_epoch(self) -> None:
        self.world.new_epoch()
        self.low.begin_epoch()
        self.root_version += 1
        self.carriers[self.root_version] = self.carriers[self.root_version - 1]
        self.epochs[self.root_version] = self.low.epoch

    # --- a good week -----------------------------------------------------------------------------

    @rule(pick=PICK, far=st.sampled_from(["lost", "sent", "received", "loaded", "confirmed", "confirmed"]))
    def carry(self, pick: int, far: str) -> None:
        """What mostly happens: pack, send, receive, load, slip; or only so far."""
        self.contents[NAMES[pick % len(NAMES)]] = pick
        made = self.pack_now()
        stick = self.new_stick()
        row = self.low.rows[made.bundle_id]
        self.world.send(made, stick.path)
        self.note_written(row, stick)
        if far == "lost":
            self.sticks.remove(stick)
        if far in {"lost", "sent"}:
            return
        self.receive_now([stick])
        arrived = self.high.rows.get(made.bundle_id)
        if far in {"loaded", "confirmed"} and arrived is not None and arrived.fate is Fate.HELD:
            self.load_now(arrived)
        if far == "confirmed":
            self.read_now(self.print_now())

    # --- thieves, disks, people ------------------------------------------------------------------

    @precondition(lambda self: self.sticks)
    @rule(pick=PICK, happens=st.sampled_from(["lost", "copied", "damaged", "destroyed"]))
    def stick_happens(self, pick: int, happens: str) -> None:
        stick = self.sticks[pick % len(self.sticks)]
        if happens == "lost":
            self.sticks.remove(stick)
            shutil.rmtree(stick.path)
        elif happens == "copied":
            self.sticks.append(Stick(self.world.copy_stick(stick.path), list(stick.copies)))
        elif len(stick.copies) == 1 and stick.copies[0].can_be_damaged:
            damage(stick.path, beyond=happens == "destroyed", seed=pick)
            stick.copies[0] = replace(stick.copies[0], is_damaged=True, is_readable=happens != "destroyed")

    @rule(days=st.sampled_from([1, 3, 10, 40]), who=st.sampled_from(["both", "both", "low", "high", "high back"]))
    def time_passes(self, days: int, who: str) -> None:
        if who in {"both", "low"}:
            self.clock.low += days * DAY
        if who in {"both", "high"}:
            self.clock.high += days * DAY
        if who == "high back":
            self.clock.high -= days * DAY

    @rule(pick=PICK, what=st.sampled_from(["fork", "new", "ahead", "not signed"]))
    def forge(self, pick: int, what: str) -> None:
        """Somebody with the carrier key, and with all the others but for `not signed`, writes a bundle of their own."""
        from tidegate.bundle.tables import Tables

        forger = self.world.forger()
        self.forged += 1
        taken = sorted(number for epoch, number in self.written if epoch == self.low.epoch)
        number = {
            "fork": taken[pick % len(taken)] if taken else 1,
            "new": self.low.next_number,
            "ahead": self.low.next_number + 5000,
            "not signed": self.low.next_number,
        }[what]
        signers = [signer("nobody")] if what == "not signed" else None
        blob = b"forged %d" % self.forged * 500
        made = forger.bundle(
            [blob], sequence=number, signers=signers, epoch=self.low.epoch, created=clock.format_time(self.clock.low)
        )
        stick = self.new_stick()
        forger.write(made, stick.path)
        packed = describe(made.facts, made.bundle_id, made.body.tables, is_signed=what != "not signed")
        stick.copies.append(Copy(packed, self.carrier, self.root_version))
        assert isinstance(made.body.tables, Tables)

    # --- the high side ---------------------------------------------------------------------------

    @precondition(lambda self: any(stick.copies for stick in self.sticks))
    @rule(pick=PICK, count=st.integers(1, 3), kill=KILL)
    def receive(self, pick: int, count: int, kill: int | None) -> None:
        full = [stick for stick in self.sticks if stick.copies]
        self.receive_now([full[(pick + at) % len(full)] for at in range(min(count, len(full)))], kill)

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

    @precondition(lambda self: self.loadable())
    @rule(pick=PICK, kill=KILL)
    def load(self, pick: int, kill: int | None) -> None:
        rows = self.loadable()
        self.load_now(rows[pick % len(rows)], kill)

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

    @precondition(lambda self: self.high.of(Fate.WAITING, Fate.REFUSED))
    @rule(pick=PICK, denies=st.booleans())
    def decide(self, pick: int, denies: bool) -> None:
        rows = self.high.of(Fate.WAITING, Fate.REFUSED)
        self.decide_now(rows[pick % len(rows)], denies=denies)

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

    # --- slips -----------------------------------------------------------------------------------

    @rule(with_proof=st.booleans())
    def print_slip(self, with_proof: bool) -> None:
        self.print_now(with_proof=with_proof)

    def print_now(self, *, with_proof: bool = False) -> PrintedSlip:
        held, missing = self.high.held(), self.high.missing()
        made = self.world.slip(with_proof=with_proof)
        assert set(made.held) == set(held), f"held {made.held}, not {sorted(held)}"
        assert set(made.missing) == missing, f"missing {made.missing}, not {sorted(missing)}"
        for row in (*self.high.rows.values(), *self.high.old.values()):
            row.was_told = row.was_told or row.was_let_go
        said = PrintedSlip(made.slip.text(), self.high.epoch, made.slip.statement.size, held, frozenset(missing))
        if made.proof is not None:
            said = replace(said, proof=made.proof.text())
        self.slips.append(said)
        return said

    @precondition(lambda self: self.slips)
    @rule(pick=PICK, kill=KILL)
    def read_slip(self, pick: int, kill: int | None) -> None:
        self.read_now(self.slips[-1 - pick % min(4, len(self.slips))], kill)

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

    @precondition(lambda self: self.slips)
    @rule(at=PICK, letter=st.sampled_from("0123456789ABCXYZ"))
    def mistype_slip(self, at: int, letter: str) -> None:
        text = self.slips[-1].text
        place = at % len(text)
        changed = text[:place] + letter + text[place + 1 :]
        if changed == text:
            return
        before = self.confirmed_here()
        with contextlib.suppress(TidegateError):
            self.world.read_slip(changed)
        assert self.confirmed_here() == before

    def confirmed_here(self) -> object:
        from tidegate_sender.slip_memory import get_confirmed

        with self.world.low() as low, low.state.reading() as tx:
            return get_confirmed(tx, low.trust.own_channel().channel_id, self.low.epoch, SITE)

    # --- keeping and restoring -------------------------------------------------------------------

    @rule()
    def clean_high(self) -> None:
        from tidegate.retention import Kind

        found = self.world.cleanup("high")
        for item in found.goes:
            row = {**self.high.old, **self.high.rows}.get(item.bundle_id or "")
            if row is None:
                continue
            self.tally[item.kind] += 1
            if item.kind is Kind.LET_GO:
                assert row.fate is Fate.LOADED
                row.was_let_go = True
            elif item.kind is Kind.SUPERSEDED:
                assert row.was_told, "a slip may name it still"
                row.fate = Fate.CLEANED
            elif item.kind is Kind.INCOMPLETE:
                row.shares, row.has_pieces = set(), False
            elif item.kind is Kind.WITHDRAWN:
                assert self.high.is_withdrawn(row)
                row.fate = Fate.DENIED
        self.high.sweep()

    @rule(side=st.sampled_from(["low", "high"]))
    def back_up(self, side: str) -> None:
        self.world.made += 1
        path = self.folder / f"backup-{side}-{self.world.made}"
        shutil.copytree(self.world.folder / side, path, symlinks=True)
        model = copy.deepcopy(self.high if side == "high" else self.low)
        self.backups[side].append(Backup(path, model, self.root_version))

    @precondition(lambda self: self.backups["high"])
    @rule(pick=PICK, is_lost=st.booleans())
    def put_back_high_state(self, pick: int, is_lost: bool) -> None:
        backup = self.backups["high"][pick % len(self.backups["high"])]
        self.world.drain("high")
        self.world.put_state_back("high", None if is_lost else backup.path)
        self.world.restore("high")
        self.new_entries()
        model = backup.model
        assert isinstance(model, HighModel)
        known = {} if is_lost else {**model.old, **model.rows}
        for rows in (self.high.rows, self.high.old):
            for bundle_id, row in list(rows.items()):
                row.was_told = False
                if row.fate is Fate.INCOMPLETE and bundle_id not in known:
                    del rows[bundle_id]

    @precondition(lambda self: self.backups["high"])
    @rule(pick=PICK)
    def put_back_high_root(self, pick: int) -> None:
        backup = self.backups["high"][pick % len(self.backups["high"])]
        self.was_high_put_back = True
        self.world.put_root_back("high", backup.path)
        # What was saved later is newer than the ledger now: to put that back is another fault (exit code 61).
        self.backups["high"] = self.backups["high"][: self.backups["high"].index(backup) + 1]
        graphs = self.high.graphs
        self.high = copy.deepcopy(backup.model)  # type: ignore[assignment]
        self.high.graphs = graphs
        last = max((number for epoch, number in self.written if epoch == self.high.epoch), default=0)
        last = max(last, self.high.highest)
        self.world.restore("high", last or None)
        self.high.highest = last
        self.seen = len(self.world.entries("high"))

    @precondition(lambda self: self.backups["low"])
    @rule(pick=PICK, is_lost=st.booleans())
    def put_back_low_state(self, pick: int, is_lost: bool) -> None:
        backup = self.backups["low"][pick % len(self.backups["low"])]
        model = LowModel() if is_lost else backup.model
        assert isinstance(model, LowModel)
        self.world.drain("low")  # what only waited in the state's outbox is lost with it
        self.world.put_state_back("low", None if is_lost else backup.path)
        self.world.restore("low")
        self.low.last_slip, self.low.last_text = model.last_slip, model.last_text
        self.low.confirmed = model.confirmed if model.epoch == self.low.epoch else frozenset()

    def low_backups(self) -> list[Backup]:
        return [item for item in self.backups["low"] if item.root_version == self.root_version]

    @precondition(lambda self: self.low_backups())
    @rule(pick=PICK)
    def put_back_low_root(self, pick: int) -> None:
        backup = self.low_backups()[pick % len(self.low_backups())]
        last = max((number for epoch, number in self.written if epoch == self.low.epoch), default=0)
        self.low = copy.deepcopy(backup.model)  # type: ignore[assignment]
        self.world.put_root_back("low", backup.path)
        self.backups["low"] = self.backups["low"][: self.backups["low"].index(backup) + 1]
        if last < self.low.next_number - 1:  # the one that was packed then never left this host
            self.world.restore("low")
        else:
            self.world.restore("low", last or None)
            self.low.put_back(last)

    # --- what holds after each step --------------------------------------------------------------

    @invariant()
    def check_step(self) -> None:
        if not hasattr(self, "world"):
            return
        shown = self.world.stage()
        assert shown == {f"{name}:latest": digest for name, (_, digest) in self.high.names.items()}
        states = {row.bundle_id: row.state.value for row in self.world.high_rows()}
        words = {Fate.HELD: "quarantined"}
        for bundle_id, row in self.high.rows.items():
            wanted = words.get(row.fate, row.fate.value)
            assert states.get(bundle_id) == wanted, (row.packed.number, states.get(bundle_id), wanted)

    # --- the end ---------------------------------------------------------------------------------

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
        rows = {row.packed.number: row for row in self.low.rows.values()}
        due = {number for number in self.high.missing() if number in rows}
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
