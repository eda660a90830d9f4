"""Let what was sent wait again: by number or pieces (`tidegate_sender.resend_plan`), or by when it was sent."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tidegate.errors import PartialError
from tidegate.state.sendings import Priority
from tidegate_sender.outbox.queue import enqueue, parse_since, sent_since
from tidegate_sender.resend_plan import ResendItem, parse_wish
from tidegate_sender.resending import plan_resend

if TYPE_CHECKING:
    from tidegate.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Requeued:
    """Names of bundles that wait again, and why others do not."""

    queued: tuple[str, ...]
    left_out: tuple[str, ...] = ()


def queue_resend(
    workspace: "Workspace", link: str, numbers: tuple[str, ...], since: str | None, *, dry_run: bool
) -> Requeued:
    """Raises UsageError, and PartialError where nothing of what was named can be sent again."""
    if since is not None:
        items = tuple(ResendItem(row) for row in sent_since(workspace, link, parse_since(since)))
        left_out: tuple[str, ...] = ()
    else:
        plan = plan_resend(workspace, [wish for word in numbers for wish in parse_wish(word)])
        items, left_out = plan.items, tuple(item.why for item in plan.impossible)
        if not items and left_out:
            raise PartialError("; ".join(left_out), hint=plan.impossible[0].hint)
    if not dry_run:
        with workspace.recording():
            for item in items:
                pieces = tuple((piece.first, piece.end) for piece in item.pieces)
                enqueue(workspace, item.row, link, Priority.NORMAL, pieces=pieces)
    return Requeued(tuple(item.words for item in items), left_out)
