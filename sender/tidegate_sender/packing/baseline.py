"""Baselines on the low side: taken from a site, kept in ``baselines/``, and one more source of a bundle's base.

What all sites of an audience have by their baselines stands in the required table with the number 0. What a bundle is
known to have carried keeps the number of that bundle.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tidegate.baseline import FILE_MAX_BYTES, Baseline, read_signed
from tidegate.bundle.tables import REQUIRED
from tidegate.clock import parse_time
from tidegate.errors import SlipOldError, SlipSiteError, TidegateError, reason_of
from tidegate.files import host_error, read_limited, write_durably
from tidegate.ledger.entries import Event, Outcome, entry
from tidegate.slip.site_key import site_of
from tidegate.slip.site_keys import SiteKeys
from tidegate_sender.packing.base import Base, Piece

if TYPE_CHECKING:
    from tidegate.workspace import Workspace

ENDING = ".baseline"
BASELINE_SEQUENCE = 0


@dataclass(frozen=True, slots=True)
class TakenBaseline:
    """What reading a baseline came to; `is_new` is False for one that was read before. `size` is bytes of the blobs."""

    site: str
    created: str
    baseline_id: str
    count: int
    size: int
    is_new: bool


def take_baseline(workspace: "Workspace", source: Path, *, dry_run: bool = False) -> TakenBaseline:
    """Verify the baseline in `source` and keep it. Refusals are recorded.

    Raises FormatError, SignatureError, SlipSiteError for a site that the channel is not for, SlipOldError for one that
    is older than what was read before.
    """
    if dry_run:
        return _take(workspace, source, dry_run=True)
    with workspace.recording():
        try:
            taken = _take(workspace, source, dry_run=False)
        except TidegateError as error:
            _record(workspace, source.name, Outcome.REFUSED, reason=reason_of(error), detail=error.message)
            raise
        if taken.is_new:
            facts = {"counts": {"blobs": taken.count}, "size": taken.size}
            _record(workspace, taken.site, Outcome.DONE, reason="baseline", detail=taken.baseline_id, **facts)
    return taken


def _take(workspace: "Workspace", source: Path, *, dry_run: bool) -> TakenBaseline:
    data = read_limited(source, FILE_MAX_BYTES)
    baseline, name = read_signed(data, _public_keys(workspace))
    sites = workspace.trust.own_channel().newest.sites or ()
    if baseline.site not in sites:
        raise SlipSiteError(f"baseline of site {baseline.site}: the channel is for {', '.join(sites)}")
    kept = _path(workspace, baseline.site)
    before, before_id = _kept(workspace, baseline.site)
    if before is not None and parse_time(before.created) > parse_time(baseline.created):
        raise SlipOldError(
            f"baseline of site {baseline.site}: is of {baseline.created}, and one of {before.created} was read",
            hint=f'if the older one is right: "tidegate baseline forget {baseline.site}", then read it',
        )
    is_new = before_id != name
    if is_new and not dry_run:
        workspace.folder("baselines")
        try:
            write_durably(kept, data)
        except OSError as error:
            raise host_error(error, f"writing {kept}") from None
    return TakenBaseline(baseline.site, baseline.created, name, len(baseline.blobs), baseline.size, is_new)


def forget_baseline(workspace: "Workspace", site: str, *, dry_run: bool = False) -> bool:
    """Count on a site's baseline no more; False where there was none."""
    path = _path(workspace, site)
    if not path.is_file():
        return False
    if not dry_run:
        with workspace.recording():
            path.unlink()
            _record(workspace, site, Outcome.DONE, reason="baseline-forgotten")
    return True


def add_baselines(workspace: "Workspace", base: Base, sites: Sequence[str]) -> Base:
    """`base`, and what all of `sites` have by their baselines. Raises what `read_signed` raises for a damaged file."""
    kept = [_kept(workspace, site) for site in sites]
    found = [(baseline, name) for baseline, name in kept if baseline is not None]
    if not found or len(found) < len(sites):
        return base
    (first, name), *others = found
    shared = [
        (key, size) for key, size in first.blobs.items() if all(other.blobs.get(key) == size for other, _ in others)
    ]
    records = np.zeros(len(shared), REQUIRED)
    records["sha256"] = np.frombuffer(b"".join(key for key, _ in shared), "V32")
    records["size"], records["sequence"] = [size for _, size in shared], BASELINE_SEQUENCE
    return Base.of((*base.pieces(), Piece(records, name)))


def _kept(workspace: "Workspace", site: str) -> tuple[Baseline | None, str]:
    """The baseline of a site that was taken, verified again: a key that was removed meanwhile counts no more."""
    path = _path(workspace, site)
    if not path.is_file():
        return None, ""
    return read_signed(read_limited(path, FILE_MAX_BYTES), _public_keys(workspace))


def _public_keys(workspace: "Workspace") -> dict[str, bytes]:
    return {site_of(key): key.public for key in SiteKeys(workspace.folder("trust")).list()}


def _path(workspace: "Workspace", site: str) -> Path:
    return workspace.root / "baselines" / f"{site}{ENDING}"


def _record(workspace: "Workspace", subject: str, outcome: Outcome, **facts: object) -> None:
    channel = workspace.trust.own_channel()
    with workspace.state.transaction() as tx:
        tx.queue(
            entry(
                Event.TRUST_CHANGE,
                subject=subject,
                step="baseline",
                outcome=outcome,
                channel=channel.channel_id,
                channel_name=channel.newest.name,
                **facts,  # type: ignore[arg-type]
            )
        )
