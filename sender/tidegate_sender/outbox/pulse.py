"""Signs of life: heartbeats at an interval, and a canary once a day.

A heartbeat is one signed, numbered datagram; its number never falls, also not after a power cut: numbers are taken from
the state a hundred at a time. The canary is a tiny real bundle, so that packing, approval, expiry and confirmation are
exercised too, and a site that gets nothing else still has something to confirm.
"""

import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tidegate import clock
from tidegate.carrier.frames import tag_of
from tidegate.carrier.stream.header import Kind
from tidegate.carrier.stream.heartbeat import HEARTBEAT_FORMAT, Heartbeat, build_heartbeat
from tidegate.carrier.stream.session import control_datagram, preamble_datagrams
from tidegate.state.meta import get_meta, set_meta
from tidegate.state.sendings import highest_sequence

if TYPE_CHECKING:
    from tidegate.trust.keys import Signer
    from tidegate.trust.root import Chain
    from tidegate.workspace import Workspace

NUMBERS_AT_ONCE = 100
CHECKPOINT_MAX = 1024
PREAMBLE_SECONDS = 600.0
CANARY_TEXT = "Tidegate sends this once a day, so that the whole way is exercised. It may be deleted.\n"
_NO_NAME = re.compile(r"[^a-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class PulseOptions:
    """Seconds between heartbeats and between canaries; 0 for none."""

    heartbeat_seconds: int = 60
    canary_seconds: float = 86400.0


def link_name(link: str) -> str:
    """The name of a link in its heartbeats: ``10.9.0.2-5300``."""
    return _NO_NAME.sub("-", link.removeprefix("udp://").lower()).strip("-")[:64] or "link"


class Pulse:
    """Makes heartbeats when they are due."""

    def __init__(
        self,
        workspace: "Workspace",
        link: str,
        signer: "Callable[[], Signer]",
        options: PulseOptions,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._workspace, self._link, self._signer, self._options = workspace, link, signer, options
        self._monotonic = monotonic
        self._next_at = monotonic()
        self._number = self._reserved = 0
        self._shown: tuple[int, float] = (0, float("-inf"))  # the root's version that went out last, and when

    def due_in(self) -> float | None:
        """Seconds until the next heartbeat; None where there are none."""
        return max(0.0, self._next_at - self._monotonic()) if self._options.heartbeat_seconds else None

    def datagrams(self) -> tuple[bytes, ...]:
        """The heartbeat that is due, if one is; a new root before it, and again from time to time.

        An idle link brings no sessions, and so no root that vouches for a key that was rotated.
        """
        due, now = self.due_in(), self._monotonic()
        if due is None or due > 0:
            return ()
        self._next_at = now + self._options.heartbeat_seconds
        chain = self._workspace.trust.own_channel()
        frame = build_heartbeat(self._heartbeat(chain), self._signer())
        heartbeat = control_datagram(Kind.HEARTBEAT, tag_of(frame), frame)
        version, shown = self._shown
        if version == chain.newest.version and now - shown < PREAMBLE_SECONDS:
            return (heartbeat,)
        self._shown = chain.newest.version, now
        return (*preamble_datagrams(chain.to_bytes()), heartbeat)

    def _heartbeat(self, chain: "Chain") -> Heartbeat:
        return Heartbeat(
            format=HEARTBEAT_FORMAT,
            critical=(),
            channel=chain.channel_id,
            epoch=chain.newest.epoch,
            link=link_name(self._link),
            number=self._next_number(),
            time=clock.format_time(clock.now()),
            interval_seconds=self._options.heartbeat_seconds,
            sequence=self._highest(chain.channel_id, chain.newest.epoch),
            checkpoint=self._checkpoint(),
        )

    def _next_number(self) -> int:
        if self._number >= self._reserved:
            key = f"heartbeat.{link_name(self._link)}"
            with self._workspace.state.transaction() as tx:
                self._number = int(get_meta(tx, key) or 0)
                self._reserved = self._number + NUMBERS_AT_ONCE
                set_meta(tx, key, str(self._reserved))
        self._number += 1
        return self._number

    def _highest(self, channel_id: str, epoch: int) -> int:
        with self._workspace.state.reading() as tx:
            return highest_sequence(tx, self._link, channel_id, epoch)

    def _checkpoint(self) -> str | None:
        """The newest head of the own ledger, as the signed note that it is."""
        try:
            text = (self._workspace.folder("ledger") / "checkpoint").read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return None
        return text if 0 < len(text) <= CHECKPOINT_MAX else None


class Canary:
    """Puts down what the daily canary bundle is packed from, when it is due."""

    def __init__(self, workspace: "Workspace", link: str, options: PulseOptions) -> None:
        self._workspace, self._options = workspace, options
        self._key = f"canary.{link_name(link)}"

    def is_due(self) -> bool:
        if not self._options.canary_seconds:
            return False
        with self._workspace.state.reading() as tx:
            last = int(get_meta(tx, self._key) or 0)
        return not 0 <= clock.now() - last < self._options.canary_seconds

    def put_down(self, folder: Path) -> Path:
        """Write the list and its file beside each other; the list's path. It counts as sent today from now on."""
        now = clock.now()
        content = self._workspace.folder("spool") / "canary"
        content.mkdir(exist_ok=True)
        (content / "canary.txt").write_text(f"{CANARY_TEXT}{clock.format_time(now)}\n", encoding="utf-8")
        with self._workspace.state.transaction() as tx:
            set_meta(tx, self._key, str(now))
        path = folder / f"canary-{clock.format_time(now)[:10]}.yaml"
        path.write_text(
            f"tidegate: 1\nfiles:\n  - path: {json.dumps(str(content))}\n    name: canary\n", encoding="utf-8"
        )
        return path
