"""The worker: takes datagrams out of the ring, whole batches at a time, and gives them where they belong.

    ring ─► headers checked as arrays ─► announcements, preambles, heartbeats (few, within budgets)
                                      └► data by tag ─► sessions ─► groups ─► threads of the intake

The reader is another process (`reader`), so that a datagram is off the socket in microseconds whatever goes on here.
"""

import contextlib
import gc
import os
import queue
import select
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tidegate.carrier.stream.header import HeaderFaults, Kind, tag_bytes
from tidegate.errors import HostError, TidegateError
from tidegate.report import ProgressCallback
from tidegate.units import MIB
from tidegate.workspace import Workspace
from tidegate_receiver.intake.outcomes import OutcomeKind, ReceiveOutcome
from tidegate_receiver.listener.batches import Batch, Numbers, RingView
from tidegate_receiver.listener.canaries import Canaries
from tidegate_receiver.listener.counting import WRITE_SECONDS, LinkCounts, LinkStatus, write_status
from tidegate_receiver.listener.groups import BufferPool
from tidegate_receiver.listener.heartbeats import Heartbeats
from tidegate_receiver.listener.keeping import Keeper
from tidegate_receiver.listener.opening import OpenedSocket
from tidegate_receiver.listener.ring import ERRNO, FULL_WAITS, READY, STOP, TAKEN, WRITTEN, Ring
from tidegate_receiver.listener.sessions import Sessions
from tidegate_receiver.listener.speakers import Speakers
from tidegate_receiver.listener.taking import AfterCallback, Taken, Takers

#: slots looked at in one go: enough that their number costs little, few enough that sessions do not wait
BATCH_SLOTS = 128
#: the same where several sessions begin in them: announcements are heard before data, so short sessions would all
#: seem to be under way at once
CROWDED_SLOTS = 16
#: announcements in one look that make it crowded: of so many sessions, and their trust pieces and ends beside them
CROWD = 3
#: with fewer slots than this the worker waits a little for more: a look costs as much for one as for ten
FEW_SLOTS = 16
COALESCE_SECONDS = 0.001
WAIT_SECONDS = 0.2
TICK_SECONDS = 0.05
#: sessions are judged silent so seldom where the ring is not empty
BEHIND_SECONDS = 1.0
#: announcements, pieces and heartbeats looked at in one batch; a flood of them is dropped and counted
CONTROLS_MAX = 64
READER_START_SECONDS = 20.0
#: of the memory setting, what is not for symbols: the reader and its ring, Python, the chunks in flight
OWN_BYTES = 88 * MIB
GROUPS_LEAST_BYTES = 16 * MIB
SWITCH_SECONDS = 0.0005


@dataclass(frozen=True, slots=True)
class ListenOptions:
    """What a listener is asked for. `stop_after`: end after so many bundles; 0 for never."""

    stop_after: int = 0
    progress: ProgressCallback | None = None


class Worker:
    """Listens until `stop` is called. `after` is told of each bundle, in its thread; `tell` of what is odd."""

    def __init__(
        self,
        workspace: Workspace,
        opened: OpenedSocket,
        options: ListenOptions,
        *,
        after: AfterCallback,
        tell: Callable[[str], None],
    ) -> None:
        self.workspace = workspace
        self.opened = opened
        self.options = options
        self.status = LinkStatus(str(opened.address), buffer_bytes=opened.buffer_bytes, has_gro=opened.has_gro)
        self.counts: LinkCounts = self.status.counts
        self._settled: queue.SimpleQueue[Taken] = queue.SimpleQueue()
        self._stop = False
        self.is_listening = False
        self.reader_pid = 0
        self._bundles = 0
        limit = max(GROUPS_LEAST_BYTES, workspace.settings.memory_bytes - OWN_BYTES)
        takers = Takers(workspace, after, self._settled.put, options.progress)
        self.takers = takers
        self.speakers = Speakers(workspace, self.counts)
        self.sessions = Sessions(workspace, BufferPool(limit), takers, self.counts, tell)
        self.sessions.is_merged = opened.has_gro
        self.heartbeats = Heartbeats(workspace, self.speakers, self.status)
        self.canaries = Canaries(workspace, self.status)
        self.keeper = Keeper(workspace, tell)
        self._folder = workspace.folder("links")
        self._ticked = self._written = self._judged = float("-inf")
        self._failure: BaseException | None = None
        self._drops = 0
        self._slots = BATCH_SLOTS

    def stop(self) -> None:
        """End soon: what is under way is left where it is, and goes on with the next listener."""
        self._stop = True

    def run(self) -> None:
        """Listen. Raises what ends all of it: a ledger that cannot be written, a reader that is gone."""
        sys.setswitchinterval(SWITCH_SECONDS)  # threads of the intake must not hold up what comes in
        ring = Ring.create()
        event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        reader = self._start_reader(ring, event)
        self.reader_pid = reader.pid
        try:
            self._wait_until_ready(ring, reader)
            self.is_listening = True
            gc.freeze()  # what was imported is never garbage: looks for some took 0.1 s a GiB
            self._loop(ring, event, reader)
        finally:
            ring.set(STOP, 1)
            self.sessions.finish_all()
            self.takers.close()
            self.keeper.close()
            self._settle_all()
            reader.terminate()
            reader.wait()
            os.close(event)
            self.status.stopped = True
            with contextlib.suppress(TidegateError):
                self._write_status()
        if self._failure is not None:
            raise self._failure

    def _start_reader(self, ring: Ring, event: int) -> subprocess.Popen[bytes]:
        descriptors = (self.opened.socket.fileno(), ring.fd, event)
        arguments = [*map(str, descriptors), str(ring.slot_count), str(os.getpid())]
        command = [sys.executable, "-m", "tidegate_receiver.listener.reader", *arguments]
        return subprocess.Popen(command, pass_fds=descriptors, stdin=subprocess.DEVNULL)

    @staticmethod
    def _wait_until_ready(ring: Ring, reader: subprocess.Popen[bytes]) -> None:
        until = time.monotonic() + READER_START_SECONDS
        while not ring.get(READY):
            if reader.poll() is not None or time.monotonic() > until:
                raise HostError("the process that reads the socket did not start")
            time.sleep(0.005)

    # --- the loop -----------------------------------------------------------------------------

    def _loop(self, ring: Ring, event: int, reader: subprocess.Popen[bytes]) -> None:
        view = RingView(ring)
        taken = ring.get(TAKEN)
        while not self._stop and self._failure is None:
            filled = ring.get(WRITTEN) - taken
            if filled < FEW_SLOTS:
                filled = self._wait_for_more(ring, event, taken)
            if filled:
                first = taken % ring.slot_count
                count = min(filled, self._slots, ring.slot_count - first)
                batch = view.batch(first, count)
                if count > CROWDED_SLOTS and _is_crowded(batch):
                    count = self._slots = CROWDED_SLOTS
                    batch = view.batch(first, count)
                else:
                    self._slots = min(BATCH_SLOTS, self._slots * 2)
                self._take(view, batch)
                taken += count
                ring.set(TAKEN, taken)
            elif reader.poll() is not None:
                raise HostError(f"the process that reads the socket ended: {_why_ended(ring, reader)}")
            self._tick(ring, is_behind=filled >= FEW_SLOTS)

    @staticmethod
    def _wait_for_more(ring: Ring, event: int, taken: int) -> int:
        """Filled slots, after a wait: long where there are none, short where there are few."""
        if ring.get(WRITTEN) == taken:
            select.select([event], [], [], WAIT_SECONDS)
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(event)
        if 0 < ring.get(WRITTEN) - taken < FEW_SLOTS:
            time.sleep(COALESCE_SECONDS)
        return ring.get(WRITTEN) - taken

    def _tick(self, ring: Ring, *, is_behind: bool) -> None:
        now = time.monotonic()
        if now - self._ticked < TICK_SECONDS:
            return
        self._ticked = now
        self._settle_all()
        if not is_behind or now - self._judged >= BEHIND_SECONDS:  # what a session waits for may lie in the ring
            self._judged = now
            self.sessions.check_time()
        self.heartbeats.check_time()
        self.canaries.check_time()
        self.keeper.check_time()
        self.counts.ring_full_waits = ring.get(FULL_WAITS)
        if now - self._written >= WRITE_SECONDS:
            self._written = now
            self._write_status()

    def _write_status(self) -> None:
        self.status.sessions = self.sessions.describe()
        write_status(self._folder, self.status)

    # --- datagrams ----------------------------------------------------------------------------

    def _take(self, ring: RingView, batch: Batch) -> None:
        counts = self.counts
        counts.datagrams += len(batch.lengths)
        counts.bytes += int(batch.lengths.sum())
        counts.truncated += batch.truncated
        self._count_faults(batch.faults)
        if batch.drops is not None:
            counts.lost_in_kernel += (batch.drops - self._drops) % 2**32
            self._drops = batch.drops
        good = np.flatnonzero(batch.good)
        if not len(good):
            return
        self.status.last_datagram = time.time()
        kinds = batch.header["kind"][good]
        is_data = kinds == Kind.DATA
        ends: list[int] = []
        if not is_data.all():
            ends = self._take_controls(ring, batch, good[~is_data])
        data = good[is_data]
        if len(data):
            counts.data += len(data)
            self.sessions.take_data(ring, batch, data)
        for item in ends:
            record = batch.header[item]
            self.sessions.hear_end(int(record["tag"]), int(record["block"]))

    def _count_faults(self, faults: HeaderFaults) -> None:
        if faults.total:
            counts = self.counts
            counts.junk_magic += faults.magic
            counts.junk_checksum += faults.checksum
            counts.junk_kind += faults.kind
            counts.junk_fields += faults.fields
            counts.junk_length += faults.length

    def _take_controls(self, ring: RingView, batch: Batch, which: Numbers) -> list[int]:
        """All that is no data, one by one, but not more than a few in a batch; those that say an end.

        What is of a session, or of data that came, is looked at first.
        """
        ends = []
        chosen = which
        if len(which) > CONTROLS_MAX:
            is_awaited = np.isin(batch.header["tag"][which], self.sessions.awaited())
            chosen = np.concatenate([which[is_awaited][:CONTROLS_MAX], which[~is_awaited]])
        for item in chosen[:CONTROLS_MAX].tolist():
            record = batch.header[item]
            tag, kind = int(record["tag"]), int(record["kind"])
            payload = ring.payload(
                int(batch.slots[item]), int(batch.places[item]), int(batch.segments[item]), int(batch.lengths[item])
            )
            if kind == Kind.ANNOUNCEMENT:
                self._take_announcement(tag, payload)
                self.sessions.hear_control(tag, int(record["running"]))
            elif kind == Kind.TRUST:
                self.speakers.take_piece(tag_bytes(tag), int(record["block"]), int(record["pieces"]), payload)
            elif kind == Kind.HEARTBEAT:
                self.heartbeats.take(tag_bytes(tag), payload)
            else:
                self.sessions.hear_control(tag, int(record["running"]))
                ends.append(item)
        self.counts.announcements_over_budget += max(0, len(which) - CONTROLS_MAX)
        return ends

    def _take_announcement(self, tag: int, payload: memoryview) -> None:
        self.counts.announcements += 1
        if self.sessions.knows(tag):
            return
        is_expected = tag in self.sessions.expected
        verified = self.speakers.verify(tag_bytes(tag), payload, is_expected=is_expected)
        if verified is not None:
            self.sessions.open(verified)

    # --- bundles ------------------------------------------------------------------------------

    def _settle_all(self) -> None:
        while not self._settled.empty():
            taken = self._settled.get()
            self.sessions.settle(taken)
            if taken.error is not None:
                self._failure = self._failure or taken.error
            if taken.outcome is not None:
                self._count_bundle(taken.outcome)

    def _count_bundle(self, outcome: ReceiveOutcome) -> None:
        counts = self.counts
        match outcome.kind:
            case OutcomeKind.RECEIVED | OutcomeKind.WAITING:
                counts.bundles_received += 1
                self.status.last_bundle, self.status.last_bundle_time = outcome.name, time.time()
            case OutcomeKind.DUPLICATE:
                counts.bundles_duplicate += 1
            case OutcomeKind.INCOMPLETE:
                counts.bundles_incomplete += 1
            case OutcomeKind.REFUSED:
                counts.bundles_refused += 1
            case _:
                counts.bundles_failed += 1
        self.canaries.note(outcome)
        self._bundles += 1
        if self.options.stop_after and self._bundles >= self.options.stop_after:
            self._stop = True


def _why_ended(ring: Ring, reader: subprocess.Popen[bytes]) -> str:
    code = reader.poll()
    if ring.get(ERRNO):
        return os.strerror(ring.get(ERRNO))
    return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"


def _is_crowded(batch: Batch) -> bool:
    """Whether several sessions are announced in it."""
    header = batch.header
    announced = batch.good & (header["kind"] == Kind.ANNOUNCEMENT)
    return len(np.unique(header["tag"][announced])) >= CROWD
