"""The chain of custody of a medium: every entry of the ledger that names its token, oldest first."""

from typing import TYPE_CHECKING, Any

from tidegate.ledger.entries import Event
from tidegate.ledger.listing import list_recorded
from tidegate.media.plugged import MediumFacts, summary

if TYPE_CHECKING:
    from tidegate.ledger.entries import RecordedEntry
    from tidegate.state.media import MediumRow
    from tidegate.workspace import Workspace

NAMES_SHOWN = 4


def custody_of(workspace: "Workspace", row: "MediumRow") -> tuple["RecordedEntry", ...]:
    """Everything that the ledger knows of the medium."""
    recorded = list_recorded(workspace.folder("ledger"))
    return tuple(item for item in recorded if _medium_of(item).get("token") == row.token)


def custody_cells(item: "RecordedEntry") -> tuple[str, ...]:
    """One entry as a row of a table: number, time, what, how it went, bundle, who, counter, remark."""
    fields = item.fields or {}
    actor = fields.get("actor")
    who = actor.get("login", "") if isinstance(actor, dict) else ""
    counter = _medium_of(item).get("counter", "")
    remark = item.text("detail") or item.text("justification") or item.text("reason")
    if item.text("event") == Event.MEDIA_RETURNED and isinstance(names := fields.get("names"), list):
        remark = f"{remark} ({', '.join(map(str, names[:NAMES_SHOWN]))})"
    cells = (
        item.text("time"),
        item.text("event"),
        item.text("outcome"),
        item.text("bundle_name"),
        who,
        counter,
        remark,
    )
    return (str(item.number), *map(str, cells))


def device_text(device: dict[str, Any]) -> str:
    """A remembered device in a few words."""
    facts = MediumFacts(
        folder="",
        kind="device not known",
        vendor=str(device.get("vendor", "")),
        product=str(device.get("product", "")),
        capacity_bytes=int(device.get("capacity", 0)),
    )
    serial = f", serial {device['serial']}" if device.get("serial") else ""
    return summary(facts).removesuffix(" at ") + serial


def _medium_of(item: "RecordedEntry") -> dict[str, Any]:
    medium = (item.fields or {}).get("medium")
    return medium if isinstance(medium, dict) else {}
