"""Random weeks of a whole channel: what people, thieves and disks do to it, and what must hold after each step.

Each rule does one thing with the real roots of `channel_world` and says with `channel_model` what must have come of
it. After each step the stage shows what the model says and nothing else, no number was given twice, and every look
at a medium left exactly one outcome for each bundle on it. At the end everything that still can arrive is made to.
"""

import atexit
import contextlib
import copy
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from channel_model import Copy, Fate, HighModel, LowModel, PrintedSlip
from channel_steps import Backup, ChannelSteps, Stick
from channel_world import DAY, Clock, Packed, World, damage, describe
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule
from receiver_world import signer

from tidegate import clock, files
from tidegate.errors import TidegateError

NAMES = ("a", "b", "c")
PICK = st.integers(0, 1000)
#: at which sync or commit a command is killed before it is run again; mostly it is not
KILL = st.one_of(st.none(), st.none(), st.integers(1, 40))
#: a preamble carries 64 KiB of roots; who missed more begins with a pairing file
ROTATIONS_MAX = 8


class ChannelMachine(ChannelSteps):
    """One channel from its first day to the day on which all is made good."""

    # --- the first day ---------------------------------------------------------------------------

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="channel-"))
        self.was_syncing, files.SYNCS.enabled = files.SYNCS.enabled, False
        self.clock = Clock()
        self.real_time, clock.time = clock.time, self.clock  # type: ignore[assignment]
        if ChannelSteps.first_day is None:
            first_day = Path(tempfile.mkdtemp(prefix="first-day-"))
            atexit.register(shutil.rmtree, first_day, ignore_errors=True)
            ChannelSteps.first_day = World.make(first_day, Clock())
        self.world = ChannelSteps.first_day.copy(self.folder, self.clock)
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

    # --- the low side ----------------------------------------------------------------------------

    @rule(pick=PICK, days=st.sampled_from([0, 0, 3]), full=st.booleans(), kill=KILL)
    def pack(self, pick: int, days: int, full: bool, kill: int | None) -> None:
        self.contents[NAMES[pick % len(NAMES)]] = pick
        self.pack_now(days=days, full=full, kill=kill)

    @precondition(lambda self: self.sendable())
    @rule(pick=PICK, on_used=st.booleans(), kill=KILL)
    def send(self, pick: int, on_used: bool, kill: int | None) -> None:
        row = self.sendable()[-1 - pick % min(3, len(self.sendable()))]
        stick = self.sticks[pick % len(self.sticks)] if on_used and self.sticks else self.new_stick()
        if any(item.packed == row.packed for item in stick.copies):
            stick = self.new_stick()
        self.run(kill, lambda: self.world.send(row.packed, stick.path))
        self.note_written(row, stick)

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

    @precondition(lambda self: self.loadable())
    @rule(pick=PICK, kill=KILL)
    def load(self, pick: int, kill: int | None) -> None:
        rows = self.loadable()
        self.load_now(rows[pick % len(rows)], kill)

    @precondition(lambda self: self.high.of(Fate.WAITING, Fate.REFUSED))
    @rule(pick=PICK, denies=st.booleans())
    def decide(self, pick: int, denies: bool) -> None:
        rows = self.high.of(Fate.WAITING, Fate.REFUSED)
        self.decide_now(rows[pick % len(rows)], denies=denies)

    # --- slips -----------------------------------------------------------------------------------

    @rule(with_proof=st.booleans())
    def print_slip(self, with_proof: bool) -> None:
        self.print_now(with_proof=with_proof)

    @precondition(lambda self: self.slips)
    @rule(pick=PICK, kill=KILL)
    def read_slip(self, pick: int, kill: int | None) -> None:
        self.read_now(self.slips[-1 - pick % min(4, len(self.slips))], kill)

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
