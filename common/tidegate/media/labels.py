"""Labels of media from what the register and a writing know; the drawing is in `paper`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tidegate.files import host_error, write_durably
from tidegate.media.custody import device_text
from tidegate.media.paper import StickLabel, draw_labels

if TYPE_CHECKING:
    from tidegate.ledger.entries import Medium
    from tidegate.state.media import MediumRow
    from tidegate.workspace import Workspace


def label_of_row(workspace: "Workspace", row: "MediumRow") -> StickLabel:
    """The label of a registered medium, with what it last carried."""
    return _label(workspace, row.detail, row.label, row.token, row.device)


def label_of_writing(workspace: "Workspace", facts: "Medium", carries: dict[str, Any]) -> StickLabel:
    """The label of a medium that was just written, registered or not."""
    from tidegate.media.sighting import device_of

    return _label(workspace, carries, facts.register_label or "", facts.token or "", device_of(facts))


def _label(
    workspace: "Workspace", carries: dict[str, Any], label: str, token: str, device: dict[str, Any]
) -> StickLabel:
    settings = workspace.settings
    return StickLabel(
        label=label,
        token=token,
        channel=settings.channel,
        sites=tuple(carries.get("sites") or settings.sites),
        bundle=carries.get("bundle", ""),
        volume=carries.get("volume"),
        volumes=carries.get("volumes"),
        classification=carries.get("classification") or "",
        device=device_text(device) if device else "",
        if_found=settings.if_found,
    )


def write_labels(path: Path, labels: tuple[StickLabel, ...]) -> None:
    """Write the PDF to `path`, replacing what is there."""
    try:
        write_durably(path.absolute(), draw_labels(labels))
    except OSError as error:
        raise host_error(error, f"writing {path}") from None
