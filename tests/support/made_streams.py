"""Sessions for tests: every datagram of a bundle's sending, in order, built from the common code and a made bundle."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from made_bundles import MadeBundle
from receiver_world import LowSide

from tidegate.carrier.announcement import Announcement, build_announcement
from tidegate.carrier.frames import tag_of
from tidegate.carrier.spans import Parts, span_groups
from tidegate.carrier.stream.header import Kind, build_headers, crc32c_headers
from tidegate.carrier.stream.heartbeat import Heartbeat, build_heartbeat
from tidegate.carrier.stream.parts import plan_stream_parts
from tidegate.carrier.stream.session import (
    StreamFacts,
    control_datagram,
    plan_session,
    preamble_datagrams,
    sending_order,
    symbol_lengths,
)
from tidegate.erasure.buffer import GroupBuffer
from tidegate.erasure.codec import GroupCodec
from tidegate.trust.keys import FileSigner


@dataclass
class MadeSession:
    """One session of a bundle. `data` holds the datagrams of each group, in the order of the spans."""

    announcement: Announcement
    announced: bytes
    preamble: bytes
    groups: list[tuple[int, int, list[bytes]]] = field(default_factory=list)
    running: int = 0

    @property
    def tag(self) -> bytes:
        return tag_of(self.announced)

    def control(self, kind: Kind, payload: bytes = b"", block: int = 0) -> bytes:
        made = control_datagram(kind, self.tag, payload, running=self.running, block=block)
        self.running += 1
        return made

    def datagrams(self) -> Iterator[bytes]:
        """As a sender sends them: the announcement first, after each group, and last; then three ends."""
        yield from preamble_datagrams(self.preamble)
        yield self.control(Kind.ANNOUNCEMENT, self.announced)
        for _, _, group in self.groups:
            for datagram in group:
                yield renumbered(datagram, self.running)
                self.running += 1
            yield self.control(Kind.ANNOUNCEMENT, self.announced)
        for _ in range(3):
            yield self.control(Kind.END, block=self.running)


def renumbered(datagram: bytes, running: int) -> bytes:
    """The datagram with another running number and a right checksum."""
    raw = np.frombuffer(bytearray(datagram[:32]), np.uint8).reshape(1, 32).copy()
    raw[0, 20:24] = np.frombuffer((running % 2**32).to_bytes(4, "little"), np.uint8)
    raw[0, 28:32] = crc32c_headers(raw).view(np.uint8)
    return raw.tobytes() + datagram[32:]


def make_session(
    low: LowSide,
    bundle: MadeBundle,
    *,
    payload_bytes: int = 1440,
    redundancy: float = 0.1,
    burst_bytes: int = 0,
    parts: Parts | None = None,
    spans: tuple[tuple[int, int, int], ...] | None = None,
    carrier: FileSigner | None = None,
    **changes: object,
) -> MadeSession:
    """A session of `bundle`; `changes` are fields of the announcement."""
    manifest = bundle.manifest()
    planned = parts or plan_stream_parts(
        bundle.part_lengths, payload_bytes, redundancy=redundancy, burst_bytes=burst_bytes
    )
    facts = StreamFacts(manifest.channel, manifest.epoch, manifest.sequence, bundle.bundle_id, bundle.manifest_length)
    announcement = replace(plan_session(facts, planned, spans), **changes)  # type: ignore[arg-type]
    announced = build_announcement(announcement, carrier or low.keys["carrier"])
    made = MadeSession(announcement, announced, low.chain.to_bytes())
    for part, group in span_groups(announcement.spans):
        made.groups.append((part, group, group_datagrams(bundle, announcement, made.tag, part, group)))
    return made


def many_groups(low: LowSide, bundle: MadeBundle) -> MadeSession:
    """A session with chunks in small groups: blocks of 40+8 symbols of 1440 bytes, three of them a group."""
    return make_session(low, bundle, parts=in_many_groups(bundle))


def in_many_groups(bundle: MadeBundle) -> Parts:
    cover, head, chunks = plan_stream_parts(bundle.part_lengths, 1440, redundancy=0.2)
    return cover, head, replace(chunks, source_count=40, repair_count=8, interleave=3)


def group_datagrams(bundle: MadeBundle, announcement: Announcement, tag: bytes, part: int, group: int) -> list[bytes]:
    geometry = announcement.geometry(part)
    buffer = GroupBuffer(geometry)
    buffer.bind(group)
    start, _ = geometry.group_extent(group)
    bundle.read_into(part, start, buffer.source_view())
    GroupCodec(geometry, threads=1).encode(buffer)
    order = sending_order(geometry, group)
    lengths = symbol_lengths(geometry, group, order)
    first = geometry.group_blocks(group)[0]
    headers = build_headers(
        Kind.DATA,
        tag,
        len(order),
        lengths=lengths,
        part=part,
        symbols=order[:, 1],
        blocks=first + order[:, 0],
    )
    return [
        header.tobytes() + bytes(buffer.slot(position, symbol)[:length])
        for header, (position, symbol), length in zip(headers, order.tolist(), lengths.tolist(), strict=True)
    ]


def heartbeat(
    low: LowSide,
    number: int,
    *,
    interval: int = 1,
    sequence: int = 0,
    epoch: int = 1,
    carrier: FileSigner | None = None,
    checkpoint: str | None = None,
) -> bytes:
    """The datagram of a heartbeat of the link `north`."""
    beat = Heartbeat(
        format=1,
        critical=(),
        channel=low.chain.channel_id,
        epoch=epoch,
        link="north",
        number=number,
        time="2026-03-01T08:00:00Z",
        interval_seconds=interval,
        sequence=sequence,
        checkpoint=checkpoint,
    )
    frame = build_heartbeat(beat, carrier or low.keys["carrier"])
    return control_datagram(Kind.HEARTBEAT, tag_of(frame), frame)
