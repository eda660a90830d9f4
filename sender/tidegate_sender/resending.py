"""Send again what did not arrive: which bundles that means, and how they get onto a medium.

    numbers, or what the last slips miss ─► plan (`resend_plan`) ─► each bundle, or pieces of it, to the medium

The plan knows no carrier, and the writer takes any plan: a stream sends the same items in its own way. On a medium
pieces are a volume that carries some groups of the chunks, beside the whole cover and head: it is verified alone, and
fills the bundle that waits on the other side.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from tidegate.bundle.container import BundleFile
from tidegate.carrier.announcement import CHUNKS, Announcement
from tidegate.carrier.medium import find_volumes
from tidegate.carrier.spans import partial_spans
from tidegate.errors import BundleUnknownError, MediaError, TidegateError, UsageError
from tidegate.lookup import FoundBundle, bundle_path, gone_error
from tidegate.names import bundle_name
from tidegate.state.bundles import BundleRow, BundleState, bundles_by_number
from tidegate.text import printable
from tidegate_sender.delivery import Delivery, Progress, SendOptions, VolumePart, deliver
from tidegate_sender.media.plan import plan_announcement
from tidegate_sender.media.target import bundle_id_of
from tidegate_sender.resend_plan import NotSent, ResendItem, ResendPlan, Wish, groups_of
from tidegate_sender.riding import open_carried
from tidegate_sender.slips.memory import get_confirmed
from tidegate_sender.slips.reading import sent_bundles, was_sent

if TYPE_CHECKING:
    from tidegate.ledger.entries import Medium
    from tidegate.workspace import Workspace


def wishes_of_slips(workspace: "Workspace") -> tuple[tuple[Wish, ...], tuple[str, ...]]:
    """What the newest slip of each site misses, and the sites that miss something."""
    root = workspace.trust.own_channel()
    numbers: set[int] = set()
    sites = []
    with workspace.state.reading() as tx:
        for site in root.newest.sites or ():
            missing = get_confirmed(tx, root.channel_id, root.newest.epoch, site).missing
            if missing:
                sites.append(site)
                numbers.update(missing)
    return tuple(Wish(number) for number in sorted(numbers)), tuple(sites)


def plan_resend(workspace: "Workspace", wishes: Iterable[Wish], asked_by: tuple[str, ...] = ()) -> ResendPlan:
    """Which of `wishes` can be sent again, and why the others cannot."""
    wishes = tuple(_merged(wishes))
    chain = workspace.trust.own_channel()
    with workspace.state.reading() as tx:
        sent = sent_bundles(tx, chain.channel_id, chain.newest.epoch)
        unsent = {
            row.sequence: row
            for wish in wishes
            for row in bundles_by_number(tx, chain.channel_id, wish.number)
            if not was_sent(row) and row.state is BundleState.PACKED
        }
    items, impossible = [], []
    for wish in sorted(wishes, key=lambda wish: wish.number):
        row = sent.get(wish.number)
        name = bundle_name(chain.channel_id, wish.number)
        why = _why_not(workspace, row, unsent.get(wish.number), name)
        if why is None and row is not None:
            items.append(ResendItem(row, wish.pieces))
        elif why is not None:
            impossible.append(NotSent(wish.number, why.message, why.hint))
    return ResendPlan(tuple(items), tuple(impossible), asked_by)


def _merged(wishes: Iterable[Wish]) -> Iterable[Wish]:
    """One wish a number; all of a bundle is more than pieces of it."""
    merged: dict[int, Wish] = {}
    for wish in wishes:
        before = merged.get(wish.number)
        whole = not wish.pieces or (before is not None and not before.pieces)
        pieces = () if whole else (*(before.pieces if before else ()), *wish.pieces)
        merged[wish.number] = Wish(wish.number, pieces)
    return merged.values()


def _why_not(
    workspace: "Workspace", row: BundleRow | None, unsent: BundleRow | None, name: str
) -> TidegateError | None:
    """Why a number cannot be sent again; None where it can."""
    if row is None and unsent is not None:
        return BundleUnknownError(f"bundle {name}: was never sent", hint=f'"tidegate send {name}"')
    if row is None:
        return BundleUnknownError(f"bundle {name}: was never packed here, or its number was given back", hint="")
    if row.detail.get("void"):
        return UsageError(
            f"bundle {name}: was discarded or withdrawn", hint="the next bundle says so, and the site waits no more"
        )
    path = bundle_path(workspace, row)
    return gone_error(row, row.bundle_id) if path is None or not path.is_file() else None


# --- onto a medium ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PlannedVolume:
    """What of an item lies on a medium; `part` is None for all of the bundle. `size_bytes` on the medium."""

    found: FoundBundle
    part: VolumePart | None
    size_bytes: int
    group_count: int


def plan_volume(workspace: "Workspace", item: ResendItem, redundancy: float) -> PlannedVolume:
    """The volume of one item. Raises UsageError for pieces that the bundle does not have."""
    from tidegate.carrier.volume import VolumeLayout
    from tidegate_sender.delivery import preamble_of

    found = FoundBundle(item.row.bundle_id, item.row, bundle_path(workspace, item.row))
    with open_carried(found) as bundle:
        whole = plan_announcement(bundle, redundancy=redundancy)
        announcement = whole if not item.pieces else pieces_announcement(whole, bundle, item)
    size = VolumeLayout(announcement, len(preamble_of(workspace))).total_bytes
    groups = sum(end - first for part, first, end in announcement.spans if part == CHUNKS)
    part = None if announcement is whole else VolumePart(announcement, completes=False)
    return PlannedVolume(found, part, size, groups)


def pieces_announcement(whole: Announcement, bundle: BundleFile, item: ResendItem) -> Announcement:
    """The announcement of a volume with the groups that hold the pieces, or `whole` where those are all of them.

    Its set is computed from what lies on it, so that the same pieces once more are the same volume.
    """
    geometry = whole.parts[CHUNKS]
    ranges = groups_of(bundle.tables().chunks, item.pieces, geometry)
    if ranges == ((0, geometry.group_count),):
        return whole
    text = ",".join(f"{first}-{end}" for first, end in ranges)
    name = sha256(f"tidegate-pieces-v1\n{whole.bundle_id}\n{text}".encode()).hexdigest()[:16]
    return replace(whole, set=name, spans=partial_spans(whole.parts, ranges), last=True)


def resend(
    workspace: "Workspace",
    planned: PlannedVolume,
    medium: Path,
    facts: "Medium",
    options: SendOptions,
    progress: Progress,
) -> Delivery:
    """Write one planned volume to `medium`. Raises MediaError and its kin; the ledger has the outcome in any case."""
    if planned.part is not None:
        _check_medium_for_pieces(medium, planned.part.plan)
    return deliver(workspace, planned.found, medium, facts, options, progress, planned.part)


def _check_medium_for_pieces(medium: Path, plan: Announcement) -> None:
    """A copy with more of the bundle must not make place for pieces of it."""
    from tidegate.carrier.announcement import parse_announcement
    from tidegate_sender.media.target import check_medium

    check_medium(medium)
    for volume in find_volumes(medium).volumes:
        if bundle_id_of(volume) == plan.bundle_id and parse_announcement(volume.frame).set != plan.set:
            raise MediaError(
                f"{printable(medium)}: has another copy of {plan.name}, which the pieces would take the place of",
                hint="use another medium; or send all of the bundle",
            )
