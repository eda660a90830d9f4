"""Which bundle an entry is about: the fields that every entry about a bundle of the state has."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tidegate.bundle.manifest import Manifest
    from tidegate.state.bundles import BundleRow


def bundle_facts(row: "BundleRow", manifest: "Manifest | None" = None) -> dict[str, Any]:
    """Fields for `entry`; with its manifest also the channel's name and the epoch that it says."""
    facts: dict[str, Any] = {
        "bundle": row.bundle_id,
        "bundle_name": row.name,
        "channel": row.channel_id,
        "sequence": row.sequence,
    }
    if manifest is not None:
        facts |= {"channel_name": manifest.channel_name, "epoch": manifest.epoch}
    return facts
