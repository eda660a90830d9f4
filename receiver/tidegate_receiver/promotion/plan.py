"""Everything about a load that can be found wrong before anything is changed.

    papers ─► release? ─► still trusted? ─► required content ─► names that stay ─► places free ─► graphs whole
    ─► targets would take it

A dry run ends here.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tidegate.depot.descriptors import Descriptor
from tidegate.depot.store import Depot
from tidegate.errors import (
    LedgerForkError,
    LoadError,
    NameTakenError,
    NotReleasedError,
    RequiredMissingError,
    UsageError,
)
from tidegate.ledger.entries import Provenance
from tidegate.ledger.witness_folder import FORK_KEY
from tidegate.names import bundle_name
from tidegate.provenance.attachments import ATTACHMENT
from tidegate.registry.reference import place_of
from tidegate.state.bundles import BundleRow, BundleState, bundles_by_number
from tidegate.state.channels import ChannelRow, list_channels
from tidegate.state.db import Transaction
from tidegate.state.names import NameOutcome, NameRow, judge_name, list_names
from tidegate.workspace import Workspace
from tidegate_receiver.intake.numbering import read_void, withdrawal
from tidegate_receiver.intake.quarantine import QuarantinedBundle
from tidegate_receiver.intake.requirements import lacking_records
from tidegate_receiver.intake.standing import check_standing, row_of
from tidegate_receiver.loaders.items import LoadItem
from tidegate_receiver.promotion.bundle import LayeredSource, Papers, content_bytes, items_of, read_papers
from tidegate_receiver.promotion.destinations import TargetPlan, plan_targets
from tidegate_receiver.promotion.provenance import check_provenance
from tidegate_receiver.promotion.release import Permission, Releaser, check_release

_HINTS = {
    BundleState.RECEIVING: "it is still being received",
    BundleState.INCOMPLETE: "receive the rest of it first: insert the medium again, or another copy",
    BundleState.WAITING: 'somebody must admit it first: "tidegate inbox" says why, "tidegate admit BUNDLE" lets it in',
    BundleState.REFUSED: "it did not pass its checks, and nothing of it is here",
    BundleState.DENIED: "somebody decided that it is not loaded",
    BundleState.CLEANED: "its content was removed after it was loaded; ask the low side for it in a new bundle",
}


@dataclass(frozen=True, slots=True)
class Plan:
    """A load after all its checks: what will be named, what is kept, and where blobs come from."""

    row: BundleRow
    papers: Papers
    permission: Permission
    source: LayeredSource
    quarantine: QuarantinedBundle
    items: tuple[LoadItem, ...]  # without the kept ones
    kept: tuple[str, ...]
    sizes: dict[str, int]
    provenance: tuple[Provenance, ...] = ()
    targets: tuple[TargetPlan, ...] = ()
    #: targets that the list asks for, and that the settings of this side do not have
    unknown_targets: tuple[str, ...] = ()

    @property
    def places(self) -> dict[str, Descriptor]:
        return {item.place: item.root for item in self.items}

    @property
    def is_new(self) -> bool:
        """Whether the bundle is still in quarantine."""
        return self.row.state is BundleState.QUARANTINED


def plan_load(workspace: Workspace, bundle: str, to: Sequence[str], releaser: Releaser, *, asked: bool = False) -> Plan:
    """Everything that can be found wrong before anything is changed."""
    row = row_of(workspace, bundle)
    if row.state not in {BundleState.QUARANTINED, BundleState.LOADED}:
        raise LoadError(f"bundle {row.name}: is {row.state.value}, not in quarantine", hint=_HINTS.get(row.state, ""))
    quarantine = QuarantinedBundle(workspace.folder("quarantine") / row.bundle_id)
    papers = read_papers(quarantine)
    if FORK_KEY in row.detail:
        raise NotReleasedError(f"bundle {row.name}: {row.detail[FORK_KEY]}", hint=LedgerForkError.hint)
    permission = check_release(workspace.settings, papers.manifest.channel_name, releaser, row.name)
    if row.state is BundleState.QUARANTINED:
        check_standing(workspace, quarantine, papers.manifest)
    with workspace.state.reading() as tx:
        _check_withdrawn(tx, row, papers)
    depot = Depot(workspace.root / "depot", create=False)  # looking, as a dry run does, makes none
    source = LayeredSource(quarantine.layout, depot)
    items = items_of(papers.manifest)
    with workspace.state.reading() as tx:
        _check_required(tx, depot, row, papers)
        kept = _kept_names(tx, row, items)
        # What belongs to an image comes before it: whoever sees the image's tag finds its signatures too.
        wanted = tuple(item for item in items if item.name not in kept)
        wanted = tuple(sorted(wanted, key=lambda item: item.kind != ATTACHMENT))
        _check_places(tx, row, wanted)
    sizes = content_bytes(source, items)
    provenance = check_provenance(workspace.settings, source, items)
    found = plan_targets(workspace, row.channel_id, wanted, source, to=to, asked=asked)
    return Plan(
        row, papers, permission, source, quarantine, wanted, kept, sizes, provenance, found.targets, found.unknown
    )


def _check_withdrawn(tx: Transaction, row: BundleRow, papers: Papers) -> None:
    """What the low side took back after it was sent is not loaded any more, nor anywhere else than it is."""
    reason = withdrawal(read_void(tx, row.channel_id, papers.manifest.epoch), row)
    if reason is not None:
        raise NotReleasedError(
            f"bundle {row.name}: the low side has withdrawn it: {reason}", hint="ask the low side what comes instead"
        )


def _kept_names(tx: Transaction, row: BundleRow, items: Iterable[LoadItem]) -> tuple[str, ...]:
    """Names that a newer bundle has set: this one came late, and moves none of them back."""
    judged = ((item.name, judge_name(tx, row.channel_id, item.name, row.sequence, item.root.digest)) for item in items)
    return tuple(name for name, outcome in judged if outcome is NameOutcome.KEPT)


def _check_required(tx: Transaction, depot: Depot, row: BundleRow, papers: Papers) -> None:
    """What the bundle builds on is in the depot; else the bundles that carried it are to be loaded first."""
    missing = lacking_records(papers.required, depot.folder)
    if not len(missing):
        return
    sequences = sorted(set(missing["sequence"].tolist()))
    named = [_describe_base(tx, row.channel_id, sequence) for sequence in sequences[:8]]
    first = next((bundle_name(row.channel_id, sequence) for sequence in sequences if sequence), None)
    raise RequiredMissingError(
        f"bundle {row.name}: needs {len(missing)} blobs that are not loaded, from {', '.join(named)}",
        hint=f'load that first: "tidegate load {first}"' if first else "the low side counted on content of a baseline",
    )


def _describe_base(tx: Transaction, channel_id: str, sequence: int) -> str:
    if not sequence:
        return "the baseline"
    states = {row.state.value for row in bundles_by_number(tx, channel_id, sequence)}
    return f"{bundle_name(channel_id, sequence)} ({', '.join(sorted(states)) or 'never received'})"


def _check_places(tx: Transaction, row: BundleRow, items: Iterable[LoadItem]) -> None:
    """No artifact of another name, or of another channel, stands at one of the places with other content."""
    holders: dict[str, list[tuple[ChannelRow, NameRow]]] = {}
    for channel in list_channels(tx):
        for known in list_names(tx, channel.channel_id):
            holders.setdefault(_place_or_name(known.name), []).append((channel, known))
    for item in items:
        for channel, known in holders.get(item.place, ()):
            is_same = (channel.channel_id, known.name) == (row.channel_id, item.name)
            if not is_same and known.digest != item.root.digest:
                raise NameTakenError(
                    f"bundle {row.name}: {item.name} would be {item.place}, and that is {known.name} "
                    f"of channel {channel.name}"
                )


def _place_or_name(name: str) -> str:
    try:
        return place_of(name)
    except UsageError:
        return name
