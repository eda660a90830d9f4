"""What a listener counts, by cause, and how it tells: a file that is replaced every few seconds.

``ROOT/links/<name>.json`` is for `tidegate link status`, ``.prom`` beside it the same for Prometheus (a textfile
collector reads it; nothing listens). Losses have three places: the wire (running numbers), the kernel's buffer (its own
count), and this process (memory). They are never added up, and no datagram is counted at two of them.
"""

import json
import os
import time
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from tidegate.files import host_error
from tidegate.metrics import Metrics

WRITE_SECONDS = 2.0
_SINCE = "in seconds since 1970, 0 for never."
_BEAT_ALIVE = "1 while heartbeats come, 0 once three are overdue."
_CANARY_ALIVE = "1 while canaries come whole in time, 0 once one stays away."


@dataclass(slots=True)
class LinkCounts:
    """Since the listener started. Datagrams, where nothing else is said."""

    datagrams: int = 0
    bytes: int = 0
    data: int = 0
    symbols_taken: int = 0
    repeated: int = 0  # symbols that were there already, or of bundles that are whole
    lost_on_wire: int = 0  # gaps in running numbers of sessions that ended, less what the kernel's losses may explain
    lost_in_kernel: int = 0  # the socket's buffer was full
    lost_for_memory: int = 0
    ring_full_waits: int = 0  # times that the reader waited for the worker; nothing is lost by it alone
    truncated: int = 0
    junk_magic: int = 0
    junk_checksum: int = 0
    junk_kind: int = 0
    junk_fields: int = 0
    junk_length: int = 0
    unknown_tag: int = 0
    foreign: int = 0  # of a session, but no symbol that it has
    announcements: int = 0
    announcements_verified: int = 0
    announcements_refused: int = 0
    announcements_over_budget: int = 0
    preambles_refused: int = 0
    heartbeats: int = 0
    heartbeats_refused: int = 0
    sessions_opened: int = 0
    sessions_put_off: int = 0  # four of the key were open, or one of the same bundle
    bundles_received: int = 0
    bundles_duplicate: int = 0
    bundles_incomplete: int = 0
    bundles_refused: int = 0
    bundles_failed: int = 0


@dataclass(slots=True)
class LinkStatus:
    """What `link status` of the high side is made of. Times are seconds since 1970, 0 for never."""

    address: str
    pid: int = field(default_factory=os.getpid)
    started: float = field(default_factory=time.time)
    written: float = 0.0
    stopped: bool = False
    buffer_bytes: int = 0
    has_gro: bool = False
    last_datagram: float = 0.0
    last_bundle: str = ""
    last_bundle_time: float = 0.0
    heartbeats: dict[str, dict[str, object]] = field(default_factory=dict)
    #: by the name of the channel
    canaries: dict[str, dict[str, object]] = field(default_factory=dict)
    sessions: list[dict[str, object]] = field(default_factory=list)
    counts: LinkCounts = field(default_factory=LinkCounts)

    def as_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True, indent=1) + "\n"

    def as_prometheus(self) -> str:
        """The same in Prometheus' text format."""
        made, link = Metrics(), self.address
        for item in fields(self.counts):
            what = f"{item.name.replace('_', ' ').capitalize()}, since the listener started."
            made.counter(f"tidegate_link_{item.name}_total", what, getattr(self.counts, item.name), link=link)
        for name, (what, value) in self._gauges().items():
            made.gauge(f"tidegate_link_{name}", what, value, link=link)
        for name, beat in self.heartbeats.items():
            number = int(str(beat["number"]))
            made.gauge("tidegate_link_heartbeat_alive", _BEAT_ALIVE, int(bool(beat["alive"])), link=link, name=name)
            made.gauge("tidegate_link_heartbeat_number", "Number of the last heartbeat.", number, link=link, name=name)
        for name, canary in self.canaries.items():
            came = float(str(canary["time"]))
            made.gauge("tidegate_link_canary_alive", _CANARY_ALIVE, int(bool(canary["alive"])), link=link, name=name)
            made.gauge("tidegate_link_canary_seconds", f"Last whole canary, {_SINCE}", came, link=link, name=name)
        return made.text()

    def _gauges(self) -> dict[str, tuple[str, float]]:
        return {
            "up": ("1 while the listener runs, 0 once it was stopped.", int(not self.stopped)),
            "written_seconds": (f"When this was written, {_SINCE}", self.written),
            "last_datagram_seconds": (f"Last datagram, {_SINCE}", self.last_datagram),
            "last_bundle_seconds": (f"Last bundle, {_SINCE}", self.last_bundle_time),
            "receive_buffer_bytes": ("The socket's receive buffer.", self.buffer_bytes),
            "sessions_open": ("Sessions under way.", len(self.sessions)),
        }


def file_name(address: str) -> str:
    """The name of a link's files: its address without what a file name should not have."""
    return "".join(letter if letter.isalnum() or letter in ".-" else "_" for letter in address.removeprefix("udp://"))


def write_status(folder: Path, status: LinkStatus) -> None:
    """Replace both files. Not synced: after a crash nothing of it is missed. Raises DiskFullError or HostError."""
    status.written = time.time()
    name = file_name(status.address)
    try:
        for suffix, text in ((".json", status.as_json()), (".prom", status.as_prometheus())):
            path = folder / (name + suffix)
            fresh = path.with_suffix(suffix + ".new")
            fresh.write_text(text, encoding="utf-8")
            fresh.replace(path)
    except OSError as error:
        raise host_error(error, "writing the link's status") from None
