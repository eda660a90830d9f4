"""The one order of checks between a medium and quarantine, each with its own error.

    preamble: chain of roots ─► announcement: carrier key ─► (duplicate? room?) ─► cover and head, mended in memory
    ─► envelope: release keys, threshold ─► bundle_id = SHA-256(manifest) ─► schema, critical features
    ─► what was announced = what was signed ─► limits of roles ─► audience, epoch, sequence, time
    ─► tables: digests, rules ─► required ─► chunks and blobs (`reassembly`)

Nothing is parsed before what vouches for it holds. Everything here is bytes and values in, values or an error out; what
the state knows comes as `History`, and `intake` opens, stores and records. The order: trust-and-ledger, docs/format.
"""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field

from tidegate.bundle.cover import find_signatures, parse_cover
from tidegate.bundle.manifest import Manifest, bundle_id, check_audience, parse_manifest
from tidegate.bundle.tables import Tables, parse_tables
from tidegate.carrier.announcement import CHUNKS, HEAD, Announcement, parse_announcement
from tidegate.carrier.frames import Frame
from tidegate.clock import format_time, parse_time
from tidegate.errors import (
    AheadError,
    CarrierFormatError,
    ChannelUnknownError,
    DigestError,
    ExpiredError,
    ForkError,
    FormatError,
    StaleError,
)
from tidegate.trust.checks import (
    check_channel,
    check_limits,
    check_root_time,
    check_site_limits,
    verify_announcement,
    verify_manifest,
)
from tidegate.trust.payload import RoleName, Root
from tidegate.trust.root import CARRIED_MAX_BYTES, Chain, VerifiedSigner, continue_chain, read_chain_id

_VOID_HINT = "set this medium aside: the low side discarded or withdrew the bundle after it was sent"
SEQUENCE_WINDOW = 1024  # numbers below the highest that may still come, and above it that may come at once


@dataclass(frozen=True, slots=True)
class VerifiedAnnouncement:
    """An announcement whose signature holds, with the chain that it was judged by."""

    announcement: Announcement
    frame: Frame
    chain: Chain
    signer: VerifiedSigner


@dataclass(frozen=True, slots=True)
class VerifiedManifest:
    """A manifest whose signatures hold, and who signed it."""

    manifest: Manifest
    signers: tuple[VerifiedSigner, ...]


@dataclass(frozen=True, slots=True)
class History:
    """What this side remembers of a channel and of time, in the words of the rules. Times are seconds since 1970."""

    site: str
    #: the highest number taken in this epoch, 0 for none; numbers below `floor_sequence` are not taken any more
    highest_sequence: int = 0
    floor_sequence: int = 0
    #: bundle_ids of other bundles that were seen with the same number
    same_number: tuple[str, ...] = ()
    #: the later of the trusted floor and a clock that counts; None before anything is known
    known_time: int | None = None
    #: a time of creation later than this waits for somebody who admits it; None where nothing can be ahead
    created_limit: int | None = None
    #: numbers that the low side has declared void, with the bundle_id that had each
    void: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the numbers say of a bundle that may be taken."""

    is_late: bool
    #: numbers between the highest one taken and this one that have not come and are not void: first and last, or None
    gap: tuple[int, int] | None
    #: what jumps, number or time: somebody must admit the bundle before it counts; None where nobody must
    ahead: AheadError | None = None


# --- who speaks -------------------------------------------------------------------------------


def walk_preamble(preamble: bytes | None, key_id: str, chains: Mapping[str, Chain]) -> Chain:
    """The chain that an announcement is judged by: the pinned one, led on by what the preamble brings.

    `chains` are the pinned ones by channel id. Where no copy of the preamble is whole, the pinned channel that has the
    carrier key. Raises ChannelUnknownError, RotationError, FormatError, SignatureError.
    """
    if preamble is not None:
        if len(preamble) > CARRIED_MAX_BYTES:
            raise FormatError(f"preamble: {len(preamble)} bytes, the limit is {CARRIED_MAX_BYTES}")
        channel_id = read_chain_id(preamble)
        stored = chains.get(channel_id)
        if stored is None:
            raise ChannelUnknownError(f"the medium is of channel {channel_id[:16]}, which is not pinned here")
        return continue_chain(stored, preamble)
    for chain in chains.values():
        if key_id in chain.newest.role_keys(RoleName.CARRIER):
            return chain
    raise ChannelUnknownError(
        f"the preamble is damaged, and carrier key {key_id[:16]} is of no channel that is pinned here"
    )


def verify_frame(
    frame: Frame, chain: Chain, others: Iterable[Chain], now: int, *, carrier: str = "media"
) -> VerifiedAnnouncement:
    """Check the carrier key's signature, then read the announcement; `now` is the known time, 0 for none.

    An announcement that was made for another kind of `carrier` than it came with is refused.
    """
    signer = verify_announcement(frame, chain, others=others)
    check_root_time(chain.newest, now)
    announcement = parse_announcement(frame)
    check_channel(chain, announcement.channel, announcement.epoch, "announcement")
    if announcement.carrier != carrier:
        raise CarrierFormatError(f"announcement of {announcement.name}: is made for a {announcement.carrier}")
    return VerifiedAnnouncement(announcement, frame, chain, signer)


def verify_manifest_bytes(
    cover: bytes, manifest: bytes, verified: VerifiedAnnouncement, others: Iterable[Chain]
) -> VerifiedManifest:
    """Signatures and threshold first, then the digest that names the bundle, then the JSON."""
    detached = find_signatures(parse_cover(cover))
    signers = verify_manifest(detached, manifest, verified.chain, others=others)
    check_bundle_id(manifest, verified.announcement)
    parsed = parse_manifest(manifest)
    _check_announced(parsed, verified)
    return VerifiedManifest(parsed, signers)


def check_bundle_id(manifest: bytes | memoryview, announcement: Announcement) -> None:
    """Raise DigestError where a manifest is not the announced bundle's."""
    found = bundle_id(manifest)
    if found != announcement.bundle_id:
        raise DigestError(f"bundle {announcement.name}: announced as {announcement.bundle_id}, the manifest is {found}")


def _check_announced(manifest: Manifest, verified: VerifiedAnnouncement) -> None:
    """What the carrier key announced is what the release keys signed."""
    announcement, root = verified.announcement, verified.chain.newest
    pairs = (
        ("sequence", announcement.sequence, manifest.sequence),
        ("length of the chunks", announcement.parts[CHUNKS].length, manifest.chunks_length),
        ("length of the head", announcement.parts[HEAD].length, _head_length(announcement, manifest)),
    )
    for what, announced, signed in pairs:
        if announced != signed:
            raise FormatError(f"bundle {manifest.name}: {what}: announced {announced}, signed {signed}")
    if manifest.channel_name != root.name:
        raise FormatError(f"bundle {manifest.name}: says channel {manifest.channel_name}, its root says {root.name}")


def _head_length(announcement: Announcement, manifest: Manifest) -> int:
    tables = manifest.tables
    records = ((tables.blobs, 48), (tables.segments, 24), (tables.chunks, 56), (tables.required, 48))
    return announcement.manifest_length + sum(entry.count * size for entry, size in records)


# --- what is taken ----------------------------------------------------------------------------


def judge_manifest(manifest: Manifest, taken_id: str, chain: Chain, site: Root, history: History) -> Judgement:
    """Whether a signed bundle may be taken here and now; raises the error that names why not."""
    check_limits(chain.newest, manifest)
    check_site_limits(site, chain.channel_id, manifest)
    check_audience(manifest, history.site)
    check_channel(chain, manifest.channel, manifest.epoch, f"bundle {manifest.name}")
    _check_sequence(manifest, taken_id, history)
    _check_expiry(manifest, history)
    ahead = _find_jump(manifest, history)
    if ahead is not None:
        return Judgement(is_late=False, gap=None, ahead=ahead)
    highest = history.highest_sequence
    void = {*history.void, *(item.sequence for item in manifest.void or ())}
    gap = missing_between(highest + 1, manifest.sequence - 1, void=void) if highest else None
    return Judgement(is_late=manifest.sequence < highest, gap=gap)


def _check_sequence(manifest: Manifest, taken_id: str, history: History) -> None:
    number, highest = manifest.sequence, history.highest_sequence
    others = tuple(other for other in history.same_number if other != taken_id)
    if others:
        raise ForkError(
            f"bundle {manifest.name}: was seen as {others[0][:16]}, and now as {taken_id[:16]}", others=others
        )
    voided = history.void.get(number)
    if voided == taken_id:
        raise StaleError(f"bundle {manifest.name}: the low side has declared its number void", hint=_VOID_HINT)
    if voided is not None:
        raise ForkError(f"bundle {manifest.name}: its number is void, and was that of {voided[:16]}", others=(voided,))
    if number < history.floor_sequence:
        raise StaleError(
            f"bundle {manifest.name}: number {number} is below the channel's floor, {history.floor_sequence}"
        )
    if number <= highest - SEQUENCE_WINDOW:
        raise StaleError(f"bundle {manifest.name}: number {number} is {SEQUENCE_WINDOW} or more behind {highest}")


def _check_expiry(manifest: Manifest, history: History) -> None:
    known = history.known_time
    if manifest.expires is not None and known is not None and parse_time(manifest.expires) <= known:
        raise ExpiredError(f"bundle {manifest.name}: expired {manifest.expires}, it is {format_time(known)} or later")


def _find_jump(manifest: Manifest, history: History) -> AheadError | None:
    """A number or a time of creation that jumps further than what may be true without anybody's doubt."""
    number, highest, limit = manifest.sequence, history.highest_sequence, history.created_limit
    hint = f'ask the low side whether that is right, then: "tidegate admit {manifest.name} --reason TEXT", or --deny'
    # A site that joins a channel late has seen nothing: its first number is where it joins.
    if highest and number > highest + SEQUENCE_WINDOW:
        what = f"number {number} is more than {SEQUENCE_WINDOW} ahead of {highest}"
        return AheadError(f"bundle {manifest.name}: {what}", hint=hint)
    if limit is not None and parse_time(manifest.created) > limit:
        what = f"created {manifest.created}, which is after {format_time(limit)}"
        return AheadError(f"bundle {manifest.name}: {what}", hint=hint)
    return None


def verify_tables(head: memoryview, verified: VerifiedAnnouncement, manifest: Manifest) -> Tables:
    """The tables behind the manifest, after their digests and every rule of the format."""
    announcement = verified.announcement
    return parse_tables(head, announcement.manifest_length, manifest, announcement.parts[CHUNKS].length)


def missing_between(first: int, last: int, *, void: Container[int]) -> tuple[int, int] | None:
    """The first and the last of the numbers from `first` to `last` that are not void; None for none."""
    numbers = [number for number in range(first, last + 1) if number not in void]
    return (numbers[0], numbers[-1]) if numbers else None
