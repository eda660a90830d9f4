"""What every way of sending says and asks in the same words: which bundle it is, its expiry, how it was read back."""

from typing import TYPE_CHECKING

from tidegate.errors import UsageError
from tidegate.report import Report

if TYPE_CHECKING:
    from tidegate.lookup import FoundBundle
    from tidegate.state.bundles import BundleRow

#: how it was read back, by `tidegate_sender.media.writing.ReadBack`
READ_BACK_WORDS = {
    "direct": ", read back from the drive itself",
    "cache-dropped": ", read back past the cache",
    "unproven": ", read back, perhaps from this host's own memory",
    "skipped": "",
}


def own_row(found: "FoundBundle", bundle: str) -> "BundleRow":
    """The row of what `bundle` names. Raises UsageError where this root did not pack it."""
    if found.row is None:
        raise UsageError(f"{bundle}: this root did not pack that bundle", hint="send it with the root that packed it")
    return found.row


def warn_of_expiry(report: Report, row: "BundleRow") -> None:
    """Say so where the bundle has expired."""
    from tidegate import clock

    if row.expires and row.expires <= clock.now():
        report.warn(
            f"{row.name} expired {clock.format_time(row.expires)}: the high side may refuse it",
            '"tidegate pack" with the same words and --anyway makes a bundle that has not',
        )
