"""A bundle that was taken before, judged as of today: before it is admitted, and before it is promoted."""

from typing import TYPE_CHECKING

from tidegate.bundle.cover import find_signatures, parse_cover
from tidegate.bundle.manifest import Manifest
from tidegate.bundle.papers import COVER_FILE
from tidegate.errors import ChannelUnknownError
from tidegate.state.bundles import BundleRow, find_bundle, get_bundle
from tidegate.trust.checks import check_root_time, verify_manifest
from tidegate_receiver.intake.quarantine import QuarantinedBundle
from tidegate_receiver.intake.verification import History, judge_manifest
from tidegate_receiver.trusted_time import read_time

if TYPE_CHECKING:
    from tidegate.workspace import Workspace


def row_of(workspace: "Workspace", text: str) -> BundleRow:
    """The row of a bundle by its id, or as a person names it. Raises BundleUnknownError, UsageError."""
    with workspace.state.reading() as tx:
        return get_bundle(tx, text) or find_bundle(tx, text)


def check_standing(workspace: "Workspace", quarantine: QuarantinedBundle, manifest: Manifest) -> None:
    """Whether the bundle would be taken today: months may lie between quarantine and promotion.

    A key that was revoked meanwhile, a channel that was unpinned, narrower limits, a new epoch and an expiry count here
    too. Raises the errors of receiving. What was promoted before stays.
    """
    chains = {chain.channel_id: chain for chain in workspace.trust.chains()}
    chain = chains.pop(manifest.channel, None)
    if chain is None:
        raise ChannelUnknownError(f"bundle {manifest.name}: channel {manifest.channel_name} is not pinned any more")
    with workspace.state.reading() as tx:
        known = read_time(tx, workspace).known
    check_root_time(chain.newest, known)
    detached = find_signatures(parse_cover(quarantine.paper(COVER_FILE)))
    verify_manifest(detached, quarantine.manifest_bytes(), chain, others=chains.values())
    history = History(site=workspace.settings.sites[0], known_time=known)
    judge_manifest(manifest, quarantine.bundle_id, chain, workspace.trust.site_root(), history)
