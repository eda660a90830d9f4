"""Signs of life from the low side: verified, numbered, remembered; and what their absence means.

A heartbeat says when the next one is due. When three are overdue the link counts as silent: an entry, and one more when
it is heard again. The number of the last one lies in the state, so that a recorded one is no sign of life even after a
restart. Intervals are measured by this host's monotonic clock, whatever time the two hosts believe in.
"""

import contextlib
import json
import time
from dataclasses import dataclass

from tidegate.carrier.frames import tag_of
from tidegate.carrier.stream.heartbeat import Heartbeat, parse_heartbeat, read_heartbeat_frame, verify_heartbeat
from tidegate.errors import MediaError, RefusedError, TidegateError, TrustError
from tidegate.ledger.entries import Event, Outcome, entry
from tidegate.state.meta import get_meta, set_meta
from tidegate.trust.checks import check_channel
from tidegate.trust.root import Chain
from tidegate.workspace import Workspace
from tidegate_receiver.listener.counting import LinkStatus
from tidegate_receiver.listener.speakers import Remembered, Speakers

MISSED_MAX = 3
LINKS_MAX = 64


@dataclass(slots=True)
class _Link:
    """One link by name and key: the last heartbeat, when it came (monotonic), and whether silence was told."""

    channel: str
    channel_name: str
    heartbeat: Heartbeat
    heard: float
    is_alive: bool = True


class Heartbeats:
    """All links that were heard."""

    def __init__(self, workspace: Workspace, speakers: Speakers, status: LinkStatus) -> None:
        self.workspace = workspace
        self.speakers = speakers
        self.status = status
        self._links: dict[str, _Link] = {}
        self._seen: Remembered[bytes] = Remembered(256)

    def take(self, tag: bytes, data: memoryview) -> None:
        """One datagram of kind heartbeat."""
        counts = self.status.counts
        if tag in self._seen or not self.speakers.spend():
            return
        self._seen.add(tag)
        copied = bytes(data)
        try:
            frame = read_heartbeat_frame(copied)
            if tag_of(copied) != tag:
                counts.heartbeats_refused += 1
                return
            chain = self.speakers.verify_key(frame.key_id)
            verify_heartbeat(frame, chain)
            heartbeat = parse_heartbeat(frame)
            check_channel(chain, heartbeat.channel, heartbeat.epoch, "heartbeat")
            self._accept(frame.key_id, chain, heartbeat)
        except (RefusedError, MediaError, TrustError):
            counts.heartbeats_refused += 1

    def _accept(self, key_id: str, chain: Chain, heartbeat: Heartbeat) -> None:
        key = f"link.heartbeat.{key_id}.{heartbeat.link}"
        with self.workspace.state.reading() as tx:
            stored = get_meta(tx, key)
        last = json.loads(stored) if stored else {}
        if heartbeat.number <= int(last.get("number", 0)):
            self.status.counts.heartbeats_refused += 1
            return
        link = self._links.get(key)
        was_silent = last.get("alive") is False if link is None else not link.is_alive
        if link is None and len(self._links) >= LINKS_MAX:
            return
        link = self._links[key] = _Link(chain.channel_id, chain.newest.name, heartbeat, time.monotonic())
        self.status.counts.heartbeats += 1
        self._store(key, link)
        if was_silent:
            self._record(Event.HEARTBEAT_REGAINED, link, "the low side is heard again")

    def check_time(self) -> None:
        """Tell of links that have fallen silent."""
        now = time.monotonic()
        for key, link in self._links.items():
            silent = now - link.heard
            if link.is_alive and silent > MISSED_MAX * link.heartbeat.interval_seconds:
                link.is_alive = False
                self._store(key, link)
                self._record(Event.HEARTBEAT_LOST, link, f"nothing heard for {int(silent)} seconds")

    def _store(self, key: str, link: _Link) -> None:
        beat = link.heartbeat
        facts = {
            "channel": link.channel_name,
            "number": beat.number,
            "time": beat.time,
            "interval_seconds": beat.interval_seconds,
            "sequence": beat.sequence,
            "alive": link.is_alive,
            "heard": time.time(),
        }
        self.status.heartbeats[f"{link.channel_name}/{beat.link}"] = dict(facts)
        with self.workspace.state.transaction() as tx:
            set_meta(tx, key, json.dumps(facts, sort_keys=True))

    def _record(self, event: Event, link: _Link, detail: str) -> None:
        made = entry(
            event,
            subject=link.heartbeat.link,
            step=event,
            outcome=Outcome.DONE,
            channel=link.channel,
            channel_name=link.channel_name,
            detail=f"link {link.heartbeat.link}: {detail}",
        )
        with self.workspace.state.transaction() as tx:
            tx.queue(made)
        with contextlib.suppress(TidegateError):
            self.workspace.recorder.drain()
