"""Write a baseline: what the depot of this site has, signed with the key of its ledger.

    depot ─► digests and sizes ─► signed file ─► entry, a copy that `cleanup` keeps the blobs of

Whoever takes the baseline counts on these blobs: from then on they stay, though no name here reaches them any more.
"""

from dataclasses import dataclass
from pathlib import Path

from tidegate.baseline import Baseline, build_baseline, split_baseline
from tidegate.clock import format_time, now
from tidegate.errors import UsageError
from tidegate.files import host_error, write_durably
from tidegate.ledger.entries import Event, Outcome, entry
from tidegate.workspace import Workspace

ENDING = ".baseline"


@dataclass(frozen=True, slots=True)
class WrittenBaseline:
    """A baseline that was written, or would be (`path` is None in a dry run). `size` is bytes of the blobs."""

    site: str
    created: str
    count: int
    size: int
    file_size: int
    baseline_id: str
    path: Path | None


def own_copy(workspace: Workspace) -> Path:
    """The newest baseline that this site gave away."""
    return workspace.root / "baselines" / f"{workspace.settings.sites[0]}{ENDING}"


def write_baseline(workspace: Workspace, out: Path, *, dry_run: bool = False) -> WrittenBaseline:
    """Make a baseline of the depot and write it to `out`. Raises LimitError, UsageError for an empty depot."""
    if not dry_run:
        workspace.begin()
    site = workspace.settings.sites[0]
    depot = workspace.depot
    blobs = {bytes.fromhex(digest.removeprefix("sha256:")): depot.size(digest) for digest in depot.digests()}
    if not blobs:
        raise UsageError("the depot is empty: there is nothing that a bundle could build on")
    baseline = Baseline(site, format_time(now()), blobs)
    data = build_baseline(baseline, workspace.signer("ledger"))
    name = split_baseline(data).baseline_id
    made = WrittenBaseline(site, baseline.created, len(blobs), baseline.size, len(data), name, None if dry_run else out)
    if dry_run:
        return made
    failure: str | None = None
    try:
        workspace.folder("baselines")
        # The own copy first: what is given away without it might be cleaned up here.
        write_durably(own_copy(workspace), data)
        write_durably(out, data)
    except OSError as error:
        failure = str(error)
        raise host_error(error, f"writing {out}") from None
    finally:
        with workspace.state.transaction() as tx:
            tx.queue(
                entry(
                    Event.EXPORT,
                    subject=site,
                    step="baseline",
                    outcome=Outcome.FAILED if failure else Outcome.DONE,
                    reason="baseline",
                    detail=failure or f"baseline {name}",
                    counts={"blobs": len(blobs)},
                    size=baseline.size,
                )
            )
        workspace.finish()
    return made
