"""A bundle to the media that are named, or to the one that is plugged in: what ``send`` and ``sync`` share.

To one medium: send_medium.py. Over several: send_set.py.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from tidegate.commands.options import Invocation
from tidegate.errors import MediaFullError
from tidegate_sender.commands.send_labels import LabelSheet
from tidegate_sender.commands.send_set import SetSending

if TYPE_CHECKING:
    from tidegate.lookup import FoundBundle
    from tidegate.workspace import Workspace
    from tidegate_sender.delivery import SendOptions
    from tidegate_sender.sets.delivery import SetOptions


def send_to_media(
    invocation: Invocation,
    workspace: "Workspace",
    found: "FoundBundle",
    media: tuple[Path, ...],
    options: "SendOptions",
    choice: "SetOptions",
    *,
    wait: bool = False,
    label: Path | None = None,
) -> None:
    """All of it to the first medium where it has room there and no set is asked for; else over a set."""
    from tidegate_sender.sets.delivery import SetDelivery

    with SetDelivery(workspace, found, options, choice) as delivery:
        sheet = LabelSheet(workspace, invocation.report, label)
        _send(SetSending(invocation, workspace, found, delivery, media, wait, sheet))


def _send(sending: SetSending) -> None:
    places = sending.places()
    if not sending.is_wanted(places) and _sent_to_one(sending, places[0]):
        sending.tell_unused(places[1:])
        return
    try:
        sending.run(places)
    except MediaFullError as error:
        from tidegate_sender.commands.send_room import with_confirmed

        raise with_confirmed(sending.workspace, places, error) from None
    finally:  # also of the sticks before one that failed
        sending.sheet.print_labels()


def _sent_to_one(sending: SetSending, place: Path) -> bool:
    """Whether it has room on the medium at `place`, and so was written there."""
    from tidegate_sender.commands.send_medium import send_to_medium
    from tidegate_sender.delivery import estimate_delivery

    invocation, delivery = sending.invocation, sending.delivery
    estimate = estimate_delivery(
        sending.workspace, sending.found, place, delivery.options, measure=not invocation.dry_run
    )
    stick_bytes = delivery.choice.stick_bytes
    if not estimate.room.is_enough or (stick_bytes is not None and estimate.volume_bytes > stick_bytes):
        return False
    send_to_medium(invocation, sending.workspace, sending.found, place, delivery.options, estimate, sending.sheet)
    return True
