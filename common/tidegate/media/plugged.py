"""Where to look for bundles: the media that are plugged in, and what the host knows of each for the ledger.

A medium is a mounted file system (`mounts`) or simply a folder that somebody names. Vendor, product and serial number
come from sysfs; they are what the device says of itself and prove nothing, but they tie an entry to a thing in a hand.
"""

import contextlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tidegate.errors import MediaError, MediaNotFoundError
from tidegate.media.mountinfo import Mount
from tidegate.media.mounts import current_mounts, find_media, mount_of
from tidegate.text import printable
from tidegate.units import format_bytes

if TYPE_CHECKING:
    from tidegate.ledger.entries import Medium

FACT_MAX_BYTES = 256
_USB_DEPTH_MAX = 12  # from a partition up to its USB device: sdb1, sdb, block, target, host, interface, device


@dataclass(frozen=True, slots=True)
class MediumFacts:
    """What the host knows of a medium. Texts are cut and printable; absent ones are empty."""

    folder: str
    kind: str = ""
    source: str = ""
    vendor: str = ""
    product: str = ""
    serial: str = ""
    label: str = ""
    capacity_bytes: int = 0

    def as_fields(self) -> dict[str, str | int]:
        """The facts that are known, as an entry of the ledger takes them."""
        names = ("folder", "kind", "source", "vendor", "product", "serial", "label", "capacity_bytes")
        return {name: value for name in names if (value := getattr(self, name))}


def plugged_media(media_folders: tuple[str, ...]) -> tuple[Mount, ...]:
    """The media that are mounted now."""
    return find_media(current_mounts(), media_folders)


def choose_medium(given: Path | None, media_folders: tuple[str, ...], *, to_write: bool = False) -> Path:
    """The folder to use: the one given, else the one medium that is plugged in (`to_write`: and is not read-only).

    Raises MediaNotFoundError where nothing, or more than one thing, could be meant, and MediaError for no folder.
    """
    if given is not None:
        if not given.exists():
            raise MediaNotFoundError(f"{printable(str(given))}: no such folder")
        if not given.is_dir():
            raise MediaError(
                f"{printable(str(given))}: is not a folder",
                hint="name the folder where the medium is mounted, or one that holds a folder TIDEGATE",
            )
        return given
    media = tuple(mount for mount in plugged_media(media_folders) if not (to_write and mount.read_only))
    if len(media) == 1:
        return media[0].point
    if not media:
        raise MediaNotFoundError("no medium is plugged in", hint="plug it in and mount it, or name a folder")
    listed = ", ".join(printable(str(mount.point)) for mount in media[:16])
    raise MediaNotFoundError(f"{len(media)} media are plugged in: {listed}", hint="name one of them")


def describe_medium(
    folder: Path, mounts: tuple[Mount, ...] | None = None, sysfs: Path = Path("/sys"), dev: Path = Path("/dev")
) -> MediumFacts:
    """What can be said of the medium that `folder` lies on. Never raises: a medium without facts is one too."""
    mount = mount_of(folder, current_mounts() if mounts is None else mounts)
    capacity = 0
    with contextlib.suppress(OSError):
        status = os.statvfs(folder)
        capacity = status.f_blocks * status.f_frsize
    shown = printable(str(folder), FACT_MAX_BYTES)
    if mount is None or mount.point != folder.absolute():
        # A plain folder: the disk that it happens to lie on is not the medium.
        return MediumFacts(shown, kind="folder")
    facts = _device_facts(mount.device, sysfs)
    return MediumFacts(
        folder=shown,
        kind=printable(mount.kind, 64),
        source=printable(mount.source, FACT_MAX_BYTES),
        vendor=facts.get("vendor", ""),
        product=facts.get("product", ""),
        serial=facts.get("serial", ""),
        label=_label(mount.source, dev),
        capacity_bytes=capacity,
    )


def describe_raw_medium(shown: Path, path: Path, size: int, sysfs: Path = Path("/sys")) -> "Medium":
    """A device or image that is read past its file system, as an entry of the ledger takes it. Never raises."""
    from tidegate.ledger.entries import Medium

    facts: dict[str, str] = {}
    with contextlib.suppress(OSError):
        status = path.stat()
        if stat.S_ISBLK(status.st_mode):
            facts = _device_facts(f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}", sysfs)
    return Medium(
        vendor=facts.get("vendor"),
        product=facts.get("product"),
        serial=facts.get("serial"),
        capacity=size or None,
        path=printable(str(shown), FACT_MAX_BYTES),
    )


def summary(facts: MediumFacts) -> str:
    """A medium in a few words for a person: ``SanDisk Ultra, 28.7 GiB at /media/usb0``."""
    name = " ".join(text for text in (facts.vendor, facts.product) if text) or facts.label or facts.kind or "medium"
    size = f", {format_bytes(facts.capacity_bytes)}" if facts.capacity_bytes else ""
    return f"{name}{size} at {facts.folder}"


def _device_facts(device: str, sysfs: Path) -> dict[str, str]:
    """Vendor, product and serial of the USB device or disk that a block device belongs to."""
    try:
        place = (sysfs / "dev" / "block" / device).resolve(strict=True)
    except OSError:
        return {}
    facts: dict[str, str] = {}
    for folder in (place, *place.parents)[:_USB_DEPTH_MAX]:
        names = {"vendor": ("manufacturer", "device/vendor"), "product": ("product", "device/model")}
        for fact, files in {**names, "serial": ("serial", "device/serial")}.items():
            for name in files:
                if text := _read_text(folder / name):
                    facts.setdefault(fact, text)
        if (folder / "idVendor").exists() or folder == sysfs:
            break
    return facts


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return printable(file.read(FACT_MAX_BYTES).decode("utf-8", "replace").strip())
    except OSError:
        return ""


def _label(source: str, dev: Path) -> str:
    """The label of a file system, from the links that udev makes."""
    with contextlib.suppress(OSError):
        device = Path(source).resolve(strict=True)
        for link in sorted((dev / "disk" / "by-label").iterdir())[:1024]:
            if link.resolve() == device:
                return printable(link.name.replace("\\x20", " "), 64)
    return ""


def medium_for_ledger(folder: Path) -> "Medium":
    """The medium that `folder` lies on, as an entry of the ledger takes it."""
    from tidegate.ledger.entries import Medium

    facts = describe_medium(folder)
    return Medium(
        vendor=facts.vendor or None,
        product=facts.product or None,
        serial=facts.serial or None,
        label=facts.label or None,
        capacity=facts.capacity_bytes or None,
        path=facts.folder,
    )
