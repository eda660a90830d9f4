"""The kernel's mount table as values: one line of ``/proc/<pid>/mountinfo`` is one mount.

The lines are the kernel's, but the names in them are not: whoever plugs a medium in chooses its label, and desktops
make a mount point of it. So limits hold here too, and a line that cannot be read is left out, never guessed. Format:
proc(5), "/proc/pid/mountinfo". Nothing is opened here.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from tidegate.units import MIB

TABLE_MAX_BYTES = 8 * MIB
LINES_MAX = 100_000  # the kernel's own default for a namespace (fs.mount-max)
LINE_MAX_BYTES = 16 * 1024  # two paths of PATH_MAX, octal escapes included

#: file systems of the kernel and of networks: never a medium, whatever they are mounted on
# fmt: off
NO_MEDIA = frozenset(
    (
        "autofs", "bdev", "binfmt_misc", "bpf", "ceph", "cgroup", "cgroup2", "cifs", "configfs", "debugfs",
        "devpts", "devtmpfs", "efivarfs", "fuse.gvfsd-fuse", "fuse.lxcfs", "fuse.portal", "fuse.sshfs",
        "fusectl", "hugetlbfs", "mqueue", "nfs", "nfs4", "nsfs", "overlay", "proc", "pstore", "ramfs",
        "rpc_pipefs", "securityfs", "selinuxfs", "smb3", "sockfs", "sysfs", "tracefs", "9p",
    )
)
# fmt: on

_ESCAPE = re.compile(rb"\\([0-7]{3})")
_DEVICE = re.compile(rb"([0-9]{1,10}):([0-9]{1,10})")


@dataclass(frozen=True, slots=True)
class Mount:
    """One mounted file system. `number` is the kernel's id of the mount, used again after an unmount."""

    number: int
    major: int
    minor: int
    root: str
    point: Path
    read_only: bool
    kind: str
    source: str

    @property
    def device(self) -> str:
        """As sysfs names it under ``/sys/dev/block``."""
        return f"{self.major}:{self.minor}"

    @property
    def key(self) -> tuple[int, str, str]:
        """What tells this mount from another one that took its place between two looks."""
        return (self.number, self.device, str(self.point))


def parse_mount_table(data: bytes) -> tuple[Mount, ...]:
    """The mounts of a table, in its order; later ones may lie over earlier ones. Never raises.

    What lies beyond the limits is left out: the table of a host with more mounts than the kernel allows is none.
    """
    lines = data[:TABLE_MAX_BYTES].split(b"\n", LINES_MAX)[:LINES_MAX]
    mounts = (parse_mount(line) for line in lines if len(line) <= LINE_MAX_BYTES)
    return tuple(mount for mount in mounts if mount is not None)


def parse_mount(line: bytes) -> Mount | None:
    """One line of the table; None for what is no such line (a cut-off last one, or an empty one)."""
    fields = line.split(b" ")
    try:
        # Fields 7 and on are optional, in any number, and end with a single hyphen.
        rest = fields[fields.index(b"-", 6) + 1 :]
    except ValueError:
        return None
    device = _DEVICE.fullmatch(fields[2])
    if device is None or len(rest) < 2 or not fields[0].isdigit() or len(fields[0]) > 10:
        return None
    return Mount(
        number=int(fields[0]),
        major=int(device[1]),
        minor=int(device[2]),
        root=unescape(fields[3]),
        point=Path(unescape(fields[4])),
        read_only=b"ro" in fields[5].split(b","),
        kind=unescape(rest[0]),
        source=unescape(rest[1]),
    )


def unescape(field: bytes) -> str:
    """A field of the table as text: space, tab, line feed, ``#`` and backslash stand in it as ``\\ooo``.

    Bytes that are no UTF-8 become surrogates, as in every path of Python's; such a text is for opening, not printing.
    """
    return os.fsdecode(_ESCAPE.sub(lambda match: bytes([int(match[1], 8) & 0xFF]), field))


def visible(mounts: tuple[Mount, ...]) -> tuple[Mount, ...]:
    """The mounts that a path reaches: of several at one point the last, and none below a later one."""
    seen: list[Mount] = []
    for mount in mounts:
        seen = [other for other in seen if not other.point.is_relative_to(mount.point)]
        seen.append(mount)
    return tuple(seen)


def is_below(path: Path, folders: tuple[str, ...]) -> bool:
    """Whether `path` lies under one of `folders` (not: is one of them)."""
    return any(path != Path(folder) and path.is_relative_to(folder) for folder in folders)
