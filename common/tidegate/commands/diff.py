"""``tidegate diff``: what one bundle has and another has not."""

from typing import TYPE_CHECKING

import click

from tidegate.commands.options import Invocation, shared_options
from tidegate.report import counted
from tidegate.text import printable
from tidegate.units import format_bytes

if TYPE_CHECKING:
    from tidegate.comparison import Amount


@click.command("diff", short_help="What changed from one bundle to another: artifacts and bytes.")
@click.argument("before", metavar="A")
@click.argument("after", metavar="B")
@shared_options()
def command(invocation: Invocation, before: str, after: str) -> None:
    """Artifacts that were added, changed or removed from bundle A to bundle B, and the bytes that this means. Both may
    be names, numbers or files; for files no root is needed."""
    from tidegate.comparison import compare, read_contents

    found = invocation.found_workspace()
    workspace = found if found.is_initialised else None
    old, new = read_contents(workspace, before), read_contents(workspace, after)
    difference = compare(old, new)
    report = invocation.report
    for item in difference.changes:
        digests = f"{_short(item.before)} {'→' if item.before and item.after else ''} {_short(item.after)}".split()
        report.line(f"{item.change:8} {printable(item.name)}  {' '.join(digests)}")
        report.object(
            {
                "artifact": item.name,
                "kind": item.kind,
                "change": item.change,
                "before": item.before,
                "after": item.after,
            }
        )
    counts = {word: sum(item.change == word for item in difference.changes) for word in ("added", "changed", "removed")}
    words = [f"{count} {word}" for word, count in counts.items() if count]
    blobs = f"{_amount(difference.blobs_added)} more, {_amount(difference.blobs_removed)} less"
    shared = _amount(difference.blobs_shared)
    text = f"{old.name} to {new.name}: {', '.join(words) or 'no change'}, {difference.same_count} the same; {blobs},"
    report.closing(
        f"{text} {shared} in both",
        before=old.name,
        after=new.name,
        before_id=old.bundle_id,
        after_id=new.bundle_id,
        same=difference.same_count,
        added_size=difference.blobs_added.size,
        removed_size=difference.blobs_removed.size,
        shared_size=difference.blobs_shared.size,
        **counts,
    )


def _short(digest: str | None) -> str:
    return digest.removeprefix("sha256:")[:12] if digest else ""


def _amount(amount: "Amount") -> str:
    return f"{counted(amount.count, 'blob')} ({format_bytes(amount.size)})"
