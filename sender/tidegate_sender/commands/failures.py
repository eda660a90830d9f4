"""What could not be had, in words that name each thing once."""

from tidegate.text import printable
from tidegate_sender.collect.items import CollectFailure


def failure_text(failure: CollectFailure) -> str:
    """``localhost:5000/app:9: HTTP 404 …``: errors begin with host and image, which the label says already."""
    text = failure.error.message
    while True:
        head, colon, rest = text.partition(": ")
        if not colon or head not in failure.label:
            return f"{failure.label}: {printable(text, 500)}"
        text = rest
