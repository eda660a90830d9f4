"""What lies on a medium, by path: taken after every writing, and compared when the medium comes back.

Reading a whole medium once more after it was read back would double the time of `send`. So of our own volumes only the
*frame* of each file is kept (labels, preambles, index blocks: a thousandth of it), since the index blocks hold a digest
of every record; on return each record is read and compared with them. Of other files the first 64 MiB are kept as a
digest, and the size. Nothing is followed, and nothing but regular files is opened.
"""

import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tidegate.carrier.announcement import parse_announcement
from tidegate.carrier.blocks import BLOCK_BYTES
from tidegate.carrier.found import FoundVolume
from tidegate.carrier.medium import MEDIUM_FOLDER, find_volumes
from tidegate.carrier.positional import open_regular
from tidegate.carrier.reader import VolumeReader
from tidegate.carrier.token import TOKEN_NAME, find_carrier_key
from tidegate.carrier.volume import VolumeLayout
from tidegate.errors import RefusedError, TidegateError
from tidegate.text import printable
from tidegate.trust.envelope import ANNOUNCEMENT_TYPE, pae
from tidegate.trust.keys import verify
from tidegate.trust.root import Chain
from tidegate.units import MIB

NAMES_MAX = 20_000
DEPTH_MAX = 32
DIGEST_FILE_MAX_BYTES = 64 * MIB
#: of all files that are not ours together
DIGEST_MEDIUM_MAX_BYTES = 1024 * MIB
_PIECE_BYTES = MIB

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True)
class Changes:
    """How a medium differs from what was written. Paths as the medium has them: `printable` before they are shown."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    unchanged: int = 0

    @property
    def is_clean(self) -> bool:
        return not (self.added or self.changed or self.missing)

    def lines(self) -> Iterator[str]:
        """One line a difference, fit to be printed."""
        for word, paths in (("added", self.added), ("changed", self.changed), ("missing", self.missing)):
            for path in paths:
                yield f"{word}: {printable(path, 300)}"


@dataclass(slots=True)
class _Look:
    """One walk over a medium."""

    folder: Path
    contents: dict[str, Any] = field(default_factory=dict)
    files: dict[str, os.stat_result] = field(default_factory=dict)
    rest: int = DIGEST_MEDIUM_MAX_BYTES


def take_snapshot(folder: Path, chain: Chain) -> dict[str, Any]:
    """Every name on the medium: ``[kind, size, digest]`` by path, the token left out. `chain` tells our own volumes.

    Beyond NAMES_MAX names it says so by an entry of its own. Raises OSError where the medium cannot be listed at all.
    """
    look = _Look(folder)
    _walk(look, folder, "", 0)
    for volume in _own_volumes(folder, chain):
        for path, digest in _frames(volume):
            name = _relative(folder, path)
            if name in look.files:
                look.contents[name] = ["volume", look.files[name].st_size, digest]
    for name, status in look.files.items():
        if name not in look.contents:
            look.contents[name] = ["file", status.st_size, _digest(look, folder / name, status.st_size)]
    return look.contents


def compare(before: dict[str, Any], after: dict[str, Any]) -> Changes:
    """What became of each name."""
    same = [name for name in before if name in after and before[name] == after[name]]
    return Changes(
        added=tuple(sorted(after.keys() - before.keys())),
        changed=tuple(sorted(name for name in before.keys() & after.keys() if before[name] != after[name])),
        missing=tuple(sorted(before.keys() - after.keys())),
        unchanged=len(same),
    )


def find_damage(folder: Path, chain: Chain, progress: Progress | None = None) -> tuple[str, ...]:
    """Paths of our own volumes in which a record is not what its index blocks say. Every record is read."""
    damaged = []
    for volume in _own_volumes(folder, chain):
        reader = VolumeReader(volume, parse_announcement(volume.frame))
        stats = reader.check(lambda done, total: progress(done, total, "check") if progress else None)
        if not stats.is_clean or reader.short_files or reader.missing_files:
            damaged.append(_relative(folder, next(iter(volume.files.values())).path))
    return tuple(damaged)


# --- names ------------------------------------------------------------------------------------


def _walk(look: _Look, folder: Path, prefix: str, depth: int) -> None:
    with os.scandir(folder) as entries:
        for entry in entries:
            if len(look.contents) + len(look.files) >= NAMES_MAX:
                look.contents["…"] = ["more names than are looked at", NAMES_MAX, ""]
                return
            _look_at(look, entry, prefix + entry.name, depth)


def _look_at(look: _Look, entry: os.DirEntry[str], name: str, depth: int) -> None:
    try:
        status = entry.stat(follow_symlinks=False)
        if stat.S_ISREG(status.st_mode):
            if name.upper() != f"{MEDIUM_FOLDER}/{TOKEN_NAME}":
                look.files[name] = status
        elif stat.S_ISDIR(status.st_mode):
            look.contents[name] = ["folder", 0, ""]
            if depth < DEPTH_MAX:
                _walk(look, Path(entry.path), f"{name}/", depth + 1)
        elif stat.S_ISLNK(status.st_mode):
            target = os.fsencode(Path(entry.path).readlink())
            look.contents[name] = ["link", len(target), hashlib.sha256(target).hexdigest()]
        else:
            look.contents[name] = ["special", 0, ""]
    except OSError:
        look.contents[name] = ["unreadable", 0, ""]


def _relative(folder: Path, path: Path) -> str:
    return str(path.relative_to(folder))


# --- content ----------------------------------------------------------------------------------


def _own_volumes(folder: Path, chain: Chain) -> Iterator[FoundVolume]:
    """Volumes whose announcement a carrier key of the channel signed, of whatever version of the root."""
    for volume in find_volumes(folder).volumes:
        key = find_carrier_key(chain, volume.frame.key_id)
        if key is None or not key.is_known:
            continue
        try:
            verify(key.public_bytes, pae(ANNOUNCEMENT_TYPE, volume.frame.payload), volume.frame.signature)
            VolumeLayout(parse_announcement(volume.frame), volume.preamble_length)
        except (RefusedError, TidegateError):
            continue
        yield volume


def _frames(volume: FoundVolume) -> Iterator[tuple[Path, str]]:
    """(path, digest of the frame) of each file of a volume."""
    layout = VolumeLayout(parse_announcement(volume.frame), volume.preamble_length)
    offsets: dict[int, list[int]] = {}
    for section in range(layout.section_count):
        for run in layout.section_runs(section):
            offsets.setdefault(run.file_number, []).append(run.offset)
    for place in layout.files:
        found = volume.files.get(place.number)
        if found is None:
            continue
        ranges = [
            (0, layout.opening_bytes),
            *((offset, BLOCK_BYTES) for offset in offsets.get(place.number, ())),
            (place.size - layout.closing_bytes, layout.closing_bytes),
        ]
        yield found.path, _digest_of_ranges(found.path, ranges)


def _digest_of_ranges(path: Path, ranges: Iterable[tuple[int, int]]) -> str:
    digest = hashlib.sha256()
    try:
        with open_regular(path) as fd:
            for offset, length in ranges:
                digest.update(os.pread(fd, length, offset))
    except OSError:
        return "unreadable"
    return digest.hexdigest()


def _digest(look: _Look, path: Path, size: int) -> str:
    """Digest of the file's first bytes, as far as file and medium have room for it; empty where they have not."""
    wanted = min(size, DIGEST_FILE_MAX_BYTES)
    if wanted > look.rest:
        return ""
    look.rest -= wanted
    digest = hashlib.sha256()
    try:
        with open_regular(path) as fd:
            done = 0
            while done < wanted and (piece := os.pread(fd, min(_PIECE_BYTES, wanted - done), done)):
                digest.update(piece)
                done += len(piece)
    except OSError:
        return "unreadable"
    return digest.hexdigest()
