"""Signs of life from the low side: verified, numbered, remembered; and what their absence means.

A heartbeat says when the next one is due. When three are overdue the link counts as silent: an entry, and one more when
it is heard again. The number of the last one of each key lies in the state, so that a recorded one is no sign of life
even after a restart. A link that was alive when a listener ended is waited for by the next one. It is the same link
whichever key speaks, so that a key that was rotated is no silence. Intervals are measured by this host's monotonic
clock, whatever time the two hosts believe in.
"""

import contextlib
import json
import time
from dataclasses import dataclass
from typing import Any

from tidegate.carrier.frames import FRAME_MAX_BYTES, tag_of
from tidegate.carrier.stream.heartbeat import Heartbeat, parse_heartbeat, read_heartbeat_frame, verify_heartbeat
from tidegate.errors import MediaError, RefusedError, TidegateError, TrustError
from tidegate.ledger.entries import Event, Outcome, entry
from tidegate.ledger.witness_memory import Relation
from tidegate.state.meta import get_meta, list_meta, set_meta
from tidegate.trust.checks import check_channel
from tidegate.trust.root import Chain
from tidegate.workspace import Workspace
from tidegate_receiver.intake.witness_heard import witness_heard
from tidegate_receiver.listener.counting import LinkStatus
from tidegate_receiver.listener.heard import HEARTBEAT_PREFIX
from tidegate_receiver.listener.speakers import Remembered, Speakers

MISSED_MAX = 3
LINKS_MAX = 64
WITNESS_AGAIN_SECONDS = 3600.0  # a person may have accepted another ledger meanwhile
SEARCH_AGAIN_SECONDS = 600.0  # nothing is received while a long ledger is searched


@dataclass(slots=True)
class _Link:
    """One link of a channel by its name. `facts` are what the state keeps under `key`, `heard` is monotonic."""

    key: str
    channel: str
    heard: float
    facts: dict[str, Any]

    @property
    def is_alive(self) -> bool:
        return bool(self.facts["alive"])


@dataclass(frozen=True, slots=True)
class _Witnessed:
    """The last checkpoint of a channel that was held against what was seen; times are monotonic."""

    checkpoint: str
    at: float
    searched: float


class Heartbeats:
    """All links that were heard at the address of `status`."""

    def __init__(self, workspace: Workspace, speakers: Speakers, status: LinkStatus) -> None:
        self.workspace = workspace
        self.speakers = speakers
        self.status = status
        self._links: dict[tuple[str, str], _Link] = {}
        self._seen: Remembered[bytes] = Remembered(256)
        self._witnessed: dict[str, _Witnessed] = {}
        self._remember()

    def _remember(self) -> None:
        """Go on with the links that an earlier listener at this address heard."""
        pinned = {channel.channel_id for channel in self.workspace.trust.list()}
        with self.workspace.state.reading() as tx:
            stored = [(key, json.loads(value)) for key, value in list_meta(tx, HEARTBEAT_PREFIX)]
        here = [item for item in stored if item[1].get("address") == self.status.address]
        for key, facts in sorted(here, key=lambda item: float(item[1]["heard"])):
            if facts["channel_id"] in pinned:
                link = _Link(key, facts["channel_id"], time.monotonic(), facts)
                self._links[link.channel, facts["link"]] = link
                self._show(link)

    def take(self, tag: bytes, data: memoryview) -> None:
        """One datagram of kind heartbeat."""
        counts = self.status.counts
        if tag in self._seen:
            return
        if len(data) > FRAME_MAX_BYTES or tag_of(data) != tag:
            counts.heartbeats_refused += 1  # no tag is blamed for bytes that are not its own
            return
        try:
            frame = read_heartbeat_frame(data)
            chain = self.speakers.verify_key(frame.key_id)  # before the budget: whoever has no key spends none of it
            if not self.speakers.spend():
                return
            self._seen.add(tag)
            verify_heartbeat(frame, chain)
            heartbeat = parse_heartbeat(frame)
            check_channel(chain, heartbeat.channel, heartbeat.epoch, "heartbeat")
            self._accept(frame.key_id, chain, heartbeat)
        except (RefusedError, MediaError, TrustError):
            counts.heartbeats_refused += 1

    def _accept(self, key_id: str, chain: Chain, beat: Heartbeat) -> None:
        key, name = f"{HEARTBEAT_PREFIX}{key_id}.{beat.link}", (chain.channel_id, beat.link)
        with self.workspace.state.reading() as tx:
            stored = get_meta(tx, key)
        last = json.loads(stored) if stored else {}
        if beat.number <= int(last.get("number", 0)):
            self.status.counts.heartbeats_refused += 1
            return
        before = self._links.get(name)
        if before is None and len(self._links) >= LINKS_MAX:
            return
        was_silent = last.get("alive") is False if before is None else not before.is_alive
        facts = {
            "address": self.status.address,
            "alive": True,
            "channel": chain.newest.name,
            "channel_id": chain.channel_id,
            "epoch": beat.epoch,
            "heard": time.time(),
            "interval_seconds": beat.interval_seconds,
            "link": beat.link,
            "number": beat.number,
            "sequence": beat.sequence,
            "time": beat.time,
        }
        link = self._links[name] = _Link(key, chain.channel_id, time.monotonic(), facts)
        self.status.counts.heartbeats += 1
        self._keep(link, Event.HEARTBEAT_REGAINED if was_silent else None, "the low side is heard again")
        self._witness(chain, beat)

    def _witness(self, chain: Chain, beat: Heartbeat) -> None:
        """Hold the checkpoint against what was seen of the low side's ledger, once, and again after a while."""
        now = time.monotonic()
        before = self._witnessed.get(chain.channel_id)
        if beat.checkpoint is None:
            return
        if before is not None and before.checkpoint == beat.checkpoint and now - before.at < WITNESS_AGAIN_SECONDS:
            return
        may_search = before is None or now - before.searched >= SEARCH_AGAIN_SECONDS
        try:
            relation = witness_heard(self.workspace, chain, beat.link, beat.checkpoint.encode(), may_search=may_search)
        except TidegateError:  # a ledger is being taken in, or this host cannot write: the next one is tried
            return
        if relation is None:
            return
        searched = now if may_search or before is None else before.searched
        self._witnessed[chain.channel_id] = _Witnessed(beat.checkpoint, now, searched)
        if relation is Relation.FORK:
            with contextlib.suppress(TidegateError):
                self.workspace.recorder.drain()

    def check_time(self) -> None:
        """Tell of links that have fallen silent."""
        now = time.monotonic()
        for link in self._links.values():
            silent = now - link.heard
            if link.is_alive and silent > MISSED_MAX * int(link.facts["interval_seconds"]):
                link.facts = {**link.facts, "alive": False}
                self._keep(link, Event.HEARTBEAT_LOST, f"nothing heard for {int(silent)} seconds")

    def _show(self, link: _Link) -> None:
        self.status.heartbeats[f"{link.facts['channel']}/{link.facts['link']}"] = dict(link.facts)

    def _keep(self, link: _Link, event: Event | None, detail: str) -> None:
        self._show(link)
        with self.workspace.state.transaction() as tx:
            set_meta(tx, link.key, json.dumps(link.facts, sort_keys=True))
            if event is not None:
                made = entry(
                    event,
                    subject=link.facts["link"],
                    step=event,
                    outcome=Outcome.DONE,
                    channel=link.channel,
                    channel_name=link.facts["channel"],
                    detail=f"link {link.facts['link']}: {detail}",
                )
                tx.queue(made)
        if event is not None:
            with contextlib.suppress(TidegateError):
                self.workspace.recorder.drain()
