"""What a sending over a link will cost, and what it bears: for ``--dry-run``, before anything is sent."""

from dataclasses import dataclass

from tidegate.carrier.announcement import CHUNKS
from tidegate.carrier.spans import Parts, full_spans, partial_spans, span_groups
from tidegate.carrier.stream.address import packet_bytes
from tidegate.carrier.stream.parts import bears_burst, borne_burst_bytes, borne_loss
from tidegate_sender.stream.delivery import StreamOptions
from tidegate_sender.stream.link import Link


@dataclass(frozen=True, slots=True)
class StreamEstimate:
    """`wire_bytes` are those of IP packets of one pass; `content_bytes` the bundle's own.

    `loss` is the random loss that every block bears, `burst_bytes` the longest gap; `is_sent_twice` where one sending
    would not bear the burst that was asked for.
    """

    wire_bytes: int
    content_bytes: int
    seconds: float
    loss: float
    burst_bytes: int
    burst_seconds: float
    is_sent_twice: bool
    datagrams: int
    groups: int
    parts: Parts

    @property
    def overhead(self) -> float:
        """What goes over the wire beyond the content, as a share of it."""
        return self.wire_bytes / self.content_bytes - 1 if self.content_bytes else 0.0


def estimate_stream(
    lengths: tuple[int, int, int], link: Link, options: StreamOptions, ranges: tuple[tuple[int, int], ...] = ()
) -> StreamEstimate:
    """The estimate for a bundle with parts of `lengths`, or for the group `ranges` of its chunks."""
    parts = options.plan(lengths, link.symbol_bytes)
    groups = span_groups(partial_spans(parts, ranges) if ranges else full_spans(parts))
    wire = datagrams = 0
    for part, group in groups:
        records = parts[part].group_record_count(group)
        datagrams += records
        wire += records * packet_bytes(parts[part].symbol_size, link.address.family)
    twice = bool(options.burst_bytes) and not bears_burst(parts, options.burst_bytes)
    if twice:
        wire, datagrams = 2 * wire, 2 * datagrams
    rate = options.schedule.now()
    burst = int(options.burst_seconds * rate) if twice else borne_burst_bytes(parts[CHUNKS])
    used = [parts[part] for part in sorted({part for part, _ in groups})]
    return StreamEstimate(
        wire_bytes=wire,
        content_bytes=sum(lengths),
        seconds=wire / rate + (options.burst_seconds if twice else 0),
        loss=min((borne_loss(part.source_count, part.repair_count) for part in used), default=0.0),
        burst_bytes=burst,
        burst_seconds=burst / rate,
        is_sent_twice=twice,
        datagrams=datagrams,
        groups=len(groups),
        parts=parts,
    )
