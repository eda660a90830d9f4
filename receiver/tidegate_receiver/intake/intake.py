"""Receive whatever a medium holds: find its volumes, verify who speaks, and take its bundles in one by one.

A fault of one bundle never keeps another from being received; what concerns this host as a whole (its ledger, its
state) is raised. Every look at a medium is an entry, with what else lies on it; every bundle's outcome is one more.
"""

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from tidegate.carrier.found import FoundVolume, MediumContents
from tidegate.carrier.volume import RUNS_MAX
from tidegate.errors import (
    LimitError,
    MediaError,
    NothingOnMediumError,
    RefusedError,
    TidegateError,
    TrustError,
    reason_of,
)
from tidegate.ledger.entries import Entry, Event, Medium, Outcome, entry
from tidegate.media.register import alarm_entry
from tidegate.media.sighting import Sighting
from tidegate.text import printable
from tidegate.trust.root import Chain
from tidegate.workspace import Workspace
from tidegate_receiver.intake.bundle_intake import ReceiveOptions, take_bundle
from tidegate_receiver.intake.copies import Copy
from tidegate_receiver.intake.looks import Look, look_into
from tidegate_receiver.intake.media_register import remember_sighting, sight_medium, token_remark
from tidegate_receiver.intake.outcomes import MediumReport, OutcomeKind, ReceiveOutcome, kind_of
from tidegate_receiver.intake.roots import advance_root
from tidegate_receiver.intake.verification import VerifiedAnnouncement, verify_frame, walk_preamble
from tidegate_receiver.trusted_time import check_clock, read_time

__all__ = ["ReceiveOptions", "receive", "receive_media", "receive_medium"]

#: volumes of one bundle that are read on one medium; the runs of all its volumes have the limit of one, RUNS_MAX
COPIES_MAX = 64
#: of one part, on however many volumes; 4 TiB in symbols of 64 KiB have 42 000
GROUPS_MAX = 2**20
#: refused volumes with an entry of their own
REFUSALS_MAX = 16


def receive(workspace: Workspace, folder: Path, options: ReceiveOptions | None = None) -> tuple[ReceiveOutcome, ...]:
    """Receive every bundle of the medium at `folder`; see `receive_medium`."""
    return receive_medium(workspace, folder, options).outcomes


def receive_medium(workspace: Workspace, folder: Path, options: ReceiveOptions | None = None) -> MediumReport:
    """Receive every bundle of the medium at `folder`, lower numbers first, and say what else lies there.

    Raises NothingOnMediumError, MediaNotFoundError and MediumLostError for the medium, LedgerError where nothing can be
    recorded; what happens to a bundle is its outcome.
    """
    return receive_media(workspace, (folder,), options)


def receive_media(
    workspace: Workspace, folders: tuple[Path, ...], options: ReceiveOptions | None = None
) -> MediumReport:
    """Receive every bundle of the media at `folders` at once: sticks of one set fill each other symbol by symbol.

    Raises as `receive_medium`, for a medium that cannot be read or holds no bundle.
    """
    options = options or ReceiveOptions()
    if options.dry_run:
        return _receive(workspace, folders, options)
    with workspace.recording():
        return _receive(workspace, folders, options)


@dataclass(slots=True)
class _Gathered:
    """What several media hold together: volumes by bundle, and what else there is to tell."""

    bundles: dict[str, list[Copy]] = field(default_factory=dict)
    media: dict[str, Medium] = field(default_factory=dict)
    outcomes: list[ReceiveOutcome] = field(default_factory=list)
    strangers: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()
    unlisted: int = 0
    notes: tuple[str, ...] = ()


def _receive(workspace: Workspace, folders: tuple[Path, ...], options: ReceiveOptions) -> MediumReport:
    gathered = _Gathered()
    chains = {chain.channel_id: chain for chain in workspace.trust.chains()}
    with contextlib.ExitStack() as stack:
        looks = []
        for folder in folders:
            look = _look_at(workspace, folder, options, stack)
            looks.append((look, _meet(workspace, folder, look, chains, options)))
        # Only now: a key that the root on one stick replaces must not count for the stick that was named before it.
        for look, seen in looks:
            _gather(workspace, look, seen, chains, options, gathered)
        if not options.dry_run:
            with workspace.state.transaction() as tx:
                gathered.notes += tuple(filter(None, (check_clock(tx, workspace),)))
        outcomes = gathered.outcomes
        for volumes in _in_order(gathered.bundles):
            medium = gathered.media[volumes[0].verified.announcement.bundle_id]
            announcements = [copy.verified.announcement for copy in volumes]
            sticks = len({found.volume for found in announcements if found.is_one_of_several})
            outcomes.append(replace(take_bundle(workspace, volumes, medium, options), sticks_read=sticks))
    return MediumReport(tuple(outcomes), gathered.strangers, gathered.damaged, gathered.unlisted, gathered.notes)


def _look_at(workspace: Workspace, place: Path, options: ReceiveOptions, stack: contextlib.ExitStack) -> Look:
    """Look through the files of a medium, or past them; what must stay open does so until `stack` ends."""
    if not options.damaged:
        return look_into(place)
    from tidegate_receiver.intake.carving import look_without_files

    chains = {chain.channel_id: chain for chain in workspace.trust.chains()}
    return look_without_files(place, chains, stack, options.progress)


def _meet(
    workspace: Workspace, folder: Path, look: Look, chains: dict[str, Chain], options: ReceiveOptions
) -> Sighting:
    """Record that a medium came, and follow the roots on it; `chains` leads on. None of its volumes is judged yet."""
    contents = look.contents
    seen = _sight(workspace, contents, look.medium, options)
    if not options.dry_run:
        _record_medium(workspace, seen, contents)
    if not contents.volumes:
        raise nothing_error(folder, contents)
    _follow_preambles(workspace, contents.volumes, chains, seen.facts, options)
    return seen


def _gather(
    workspace: Workspace,
    look: Look,
    seen: Sighting,
    chains: dict[str, Chain],
    options: ReceiveOptions,
    gathered: _Gathered,
) -> None:
    """Add what the verified volumes of one medium hold."""
    contents, medium = look.contents, seen.facts
    bundles: dict[str, list[Copy]] = {}
    refused: list[TidegateError] = []
    room = RUNS_MAX
    for found in contents.volumes:
        try:
            _check_work(room)
            verified = _verify_volume(workspace, found, chains, medium, options)
            reader = look.open_reader(found, verified.announcement)
            copies = bundles.setdefault(verified.announcement.bundle_id, [])
            room -= reader.layout.run_count
            _check_work(room, verified.announcement.name, len(copies))
        except (RefusedError, MediaError, TrustError) as error:
            refused.append(error)
            continue
        copies.append(Copy(verified, reader))
    for bundle_id, volumes in bundles.items():
        gathered.bundles.setdefault(bundle_id, []).extend(volumes)
        gathered.media.setdefault(bundle_id, medium)
    gathered.outcomes += _refuse_volumes(workspace, medium, refused, options)
    gathered.strangers += contents.strangers
    gathered.damaged += contents.damaged
    gathered.unlisted += contents.unlisted
    gathered.notes += tuple(alarm.text for alarm in seen.alarms)


def _sight(workspace: Workspace, contents: MediumContents, facts: Medium, options: ReceiveOptions) -> Sighting:
    """Which medium it is, by its token; nothing is stored yet."""
    look_only = replace(options, dry_run=True)

    def chains() -> dict[str, Chain]:
        pinned = {chain.channel_id: chain for chain in workspace.trust.chains()}
        return _follow_preambles(workspace, contents.volumes, pinned, facts, look_only)

    return sight_medium(workspace, contents, facts, chains)


def nothing_error(folder: Path, contents: MediumContents) -> NothingOnMediumError:
    """What to say of a medium without a volume: that it is empty, or that everything on it is damaged."""
    if contents.damaged:
        return NothingOnMediumError(
            f"{printable(folder)}: nothing can be recognised in {_files(contents.damaged)}:"
            f" {contents.damaged[0].split(': ')[0]}",
            hint="have the low side write the bundle again, to another medium",
        )
    others = f", {_files(contents.strangers)} of others" if contents.strangers else ""
    hint = 'is it the right one? "tidegate receive PATH" names another; "--damaged DEVICE" looks without a file system'
    return NothingOnMediumError(f"{printable(folder)}: no bundle on it{others}", hint=hint)


def _files(names: tuple[str, ...]) -> str:
    return f"{len(names)} file{'' if len(names) == 1 else 's'}"


def _in_order(bundles: Mapping[str, list[Copy]]) -> Iterable[tuple[Copy, ...]]:
    """Bundles by channel and number, so that what comes together comes in its order."""

    def key(volumes: list[Copy]) -> tuple[str, int]:
        announcement = volumes[0].verified.announcement
        return announcement.channel, announcement.sequence

    return (tuple(volumes) for volumes in sorted(filter(None, bundles.values()), key=key))


# --- who speaks -------------------------------------------------------------------------------


def _follow_preambles(
    workspace: Workspace,
    volumes: Iterable[FoundVolume],
    chains: dict[str, Chain],
    medium: Medium,
    options: ReceiveOptions,
) -> dict[str, Chain]:
    """`chains`, the pinned ones by channel id, with all that the medium brings.

    Before any announcement is judged: a key that one volume's root revokes must not count for the volume before it.
    """
    for found in volumes:
        with contextlib.suppress(RefusedError, MediaError, TrustError):  # told when the volume itself is judged
            _follow_preamble(workspace, found, chains, medium, options)
    return chains


def _follow_preamble(
    workspace: Workspace, found: FoundVolume, chains: dict[str, Chain], medium: Medium, options: ReceiveOptions
) -> Chain:
    """Walk one preamble and keep its newest root, here and in `chains`."""
    chain = _walk(found, chains)
    if chain is not chains[chain.channel_id]:
        if not options.dry_run:
            chain = advance_root(workspace, chain, medium)
        chains[chain.channel_id] = chain
    return chain


def _walk(found: FoundVolume, chains: dict[str, Chain]) -> Chain:
    """The chain that the volume's preamble leads to; a damaged preamble is none, and the stored chain counts."""
    try:
        return walk_preamble(found.preamble, found.frame.key_id, chains)
    except (RefusedError, TrustError):
        if found.preamble is None or found.is_preamble_sure:
            raise
        return walk_preamble(None, found.frame.key_id, chains)


def _verify_volume(
    workspace: Workspace, found: FoundVolume, chains: dict[str, Chain], medium: Medium, options: ReceiveOptions
) -> VerifiedAnnouncement:
    """Verify and read the announcement, by the newest root that is known."""
    chain = _follow_preamble(workspace, found, chains, medium, options)
    with workspace.state.reading() as tx:
        known = read_time(tx, workspace).known
    others = tuple(item for item in chains.values() if item.channel_id != chain.channel_id)
    verified = verify_frame(found.frame, chain, others, known)
    groups = max(part.group_count for part in verified.announcement.parts)
    if groups > GROUPS_MAX:
        name = verified.announcement.name
        raise LimitError(f"bundle {name}: a part in {groups} groups, this side takes {GROUPS_MAX}")
    return verified


def _check_work(room: int, name: str = "", copies: int = 0) -> None:
    """Each announcement keeps its limits; thousands of them on one medium must not take all memory and time."""
    if room < 0:
        raise LimitError(f"the volumes of this medium have more than {RUNS_MAX} runs together")
    if copies >= COPIES_MAX:
        raise LimitError(f"bundle {name}: more than {COPIES_MAX} copies on this medium")


# --- entries that are about no bundle ---------------------------------------------------------


def _record_medium(workspace: Workspace, seen: Sighting, contents: MediumContents) -> None:
    counts = {
        "volumes": len(contents.volumes),
        "strangers": len(contents.strangers),
        "damaged": len(contents.damaged),
        "unlisted": contents.unlisted,
    }
    made = entry(
        Event.MEDIA_INSERTED,
        subject="medium",
        step=Event.MEDIA_INSERTED,
        outcome=Outcome.DONE if contents.volumes else Outcome.NOTHING,
        medium=seen.facts,
        counts=counts,
        names=(*contents.damaged, *contents.strangers),
        detail=token_remark(seen),
    )
    with workspace.state.transaction() as tx:
        tx.queue(made)
        for alarm in seen.alarms:
            tx.queue(alarm_entry(alarm, seen.facts))
        remember_sighting(tx, seen)


def _refuse_volumes(
    workspace: Workspace, medium: Medium, errors: list[TidegateError], options: ReceiveOptions
) -> Iterable[ReceiveOutcome]:
    """Volumes of which not even the announcement can be believed: nothing that they say is written down.

    The first have an entry and an outcome each, the others one together: a stick of thousands of forged labels must
    not fill the ledger.
    """
    told = errors[:REFUSALS_MAX]
    more = len(errors) - len(told)
    made = [_refusal_entry(medium, error) for error in told]
    if more:
        told.append(LimitError(f"{more} more volumes were refused, the first of them: {errors[REFUSALS_MAX].message}"))
        made.append(_refusal_entry(medium, told[-1], counts={"volumes": more}))
    if made and not options.dry_run:
        with workspace.state.transaction() as tx:
            for item in made:
                tx.queue(item)
    return (
        ReceiveOutcome(OutcomeKind.REFUSED if isinstance(error, TrustError) else kind_of(error), error=error)
        for error in told
    )


def _refusal_entry(medium: Medium, error: TidegateError, counts: dict[str, int] | None = None) -> Entry:
    return entry(
        Event.MEDIA_REJECTED,
        subject="medium",
        step=Event.MEDIA_REJECTED,
        outcome=Outcome.REFUSED,
        medium=medium,
        reason=reason_of(error),
        detail=error.message,
        counts=counts,
    )
