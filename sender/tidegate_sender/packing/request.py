"""From what a person asks for to a packed bundle: collect, an entry for what came and what did not, pack.

One artifact of forty that cannot be had does not stop the others: they are packed, the failures are listed and
recorded. Only when nothing could be had, or a required item failed, nothing is packed.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from tidegate.errors import TidegateError, reason_of
from tidegate.ledger.entries import Event, Outcome, Provenance, entry
from tidegate.workspace import Workspace
from tidegate_sender.collect.items import CollectReport, Item
from tidegate_sender.collect.pipeline import collect
from tidegate_sender.packing.pack import PackOptions, PackReport, pack

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True)
class RequestReport:
    """What a request came to."""

    collected: CollectReport
    packed: PackReport
    collect_seconds: float


def fulfil(workspace: Workspace, items: Sequence[Item], options: PackOptions, progress: Progress) -> RequestReport:
    """Collect `items` and pack what could be had.

    Raises the first failure where nothing could be had, the error of a required item, and what `pack` raises.
    """
    workspace.begin()
    started = time.monotonic()
    try:
        collected = collect(items, workspace.depot, progress=progress, client_factory=workspace.registries.client)
    except TidegateError as error:
        _record(workspace, Outcome.FAILED, reason=reason_of(error), detail=error.message)
        raise
    seconds = time.monotonic() - started
    _record_collected(workspace, collected)
    if not collected.artifacts:
        raise collected.failures[0].error
    options = replace(options, is_partial=bool(collected.failures))
    packed = pack(workspace, collected.artifacts, options, lambda done, total: progress(done, total, "packing"))
    return RequestReport(collected, packed, seconds)


def _record_collected(workspace: Workspace, collected: CollectReport) -> None:
    failures = "; ".join(item.text for item in collected.failures)
    outcome = Outcome.PARTIAL if failures and collected.artifacts else Outcome.FAILED if failures else Outcome.DONE
    _record(
        workspace,
        outcome,
        names=tuple(item.name for item in collected.artifacts),
        size=sum(item.size_bytes for item in collected.artifacts),
        counts={"artifacts": len(collected.artifacts), "failures": len(collected.failures)},
        detail=failures or None,
        provenance=tuple(Provenance(item.name, item.verdict) for item in collected.artifacts if item.verdict) or None,
    )


def _record(workspace: Workspace, outcome: Outcome, **facts: object) -> None:
    channel = workspace.trust.own_channel()
    with workspace.state.transaction() as tx:
        tx.queue(
            entry(
                Event.COLLECT,
                subject=workspace.origin,
                step="collect",
                outcome=outcome,
                channel=channel.channel_id,
                channel_name=channel.newest.name,
                **facts,  # type: ignore[arg-type]
            )
        )
    workspace.finish()
