"""Look through a medium for volumes: by content, never by name, following nothing, within limits.

``FOLDER/TIDEGATE`` is searched, and files named ``*.TGV`` in FOLDER itself, so that a path to the medium, to a bundle's
folder or to one file works alike. What is not ours is listed and left alone. The medium's token, where it is one by its
content, is ours.
"""

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tidegate.carrier.found import FoundFile, FoundVolume, MediumContents
from tidegate.carrier.frames import Frame
from tidegate.carrier.identify import identify_by_index, identify_by_label
from tidegate.carrier.positional import MEDIUM_GONE, open_regular
from tidegate.carrier.reader import VolumeReader
from tidegate.carrier.token import TOKEN_MAX_BYTES, TOKEN_NAME, read_token
from tidegate.errors import FormatError, MediaNotFoundError, MediumLostError
from tidegate.text import printable

__all__ = ["FoundFile", "FoundVolume", "MediumContents", "VolumeReader", "find_volumes"]

MEDIUM_FOLDER = "TIDEGATE"
VOLUME_SUFFIX = ".tgv"
FOLDER_DEPTH_MAX = 4
#: names looked at in all, so that a folder with millions of them costs no more
NAMES_MAX = 20_000
CANDIDATES_MAX = 4096
#: files without a label that are looked through for index blocks, 19 MiB each
PROBES_MAX = 256
LISTED_MAX = 1000


@dataclass(slots=True)
class _Search:
    """What one look through a medium has gathered so far."""

    folder: Path
    candidates: list[Path] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    unlisted: int = 0
    names: int = 0
    token: bytes | None = None

    def note(self, listed: list[str], path: Path, remark: str = "") -> None:
        if len(listed) >= LISTED_MAX:
            self.unlisted += 1
            return
        relative = path.relative_to(self.folder) if path != self.folder else Path(path.name)
        listed.append(printable(relative) + remark)


def find_volumes(folder: Path) -> MediumContents:
    """All volumes under `folder` (or in the one file that it names).

    Raises MediaNotFoundError where `folder` is nothing that can be looked into, MediumLostError where its medium is
    gone. Damage inside raises nothing.
    """
    search = _Search(folder)
    try:
        mode = folder.stat().st_mode
        if stat.S_ISREG(mode):
            search.candidates.append(folder)
        else:
            _search_top(search, folder)
    except OSError as error:
        if error.errno in MEDIUM_GONE and not isinstance(error, FileNotFoundError):
            raise MediumLostError(f"{printable(folder)}: {error.strerror}") from None
        raise MediaNotFoundError(f"{printable(folder)}: {error.strerror}") from None
    volumes = _group_files(_recognise(search))
    return MediumContents(volumes, tuple(search.strangers), tuple(search.damaged), search.unlisted, search.token)


# --- names ------------------------------------------------------------------------------------


def _search_top(search: _Search, folder: Path) -> None:
    inside = MEDIUM_FOLDER in (folder.name.upper(), folder.parent.name.upper())
    for entry in _entries(search, folder):
        path = Path(entry.path)
        if entry.is_dir(follow_symlinks=False) and (inside or entry.name.upper() == MEDIUM_FOLDER):
            _search_folder(search, path, 1)
        elif entry.is_file(follow_symlinks=False) and (inside or _has_our_suffix(path)):
            _add_candidate(search, path)
        else:
            search.note(search.strangers, path, _kind_mark(entry))


def _search_folder(search: _Search, folder: Path, depth: int) -> None:
    try:
        for entry in _entries(search, folder):
            path = Path(entry.path)
            if entry.is_dir(follow_symlinks=False) and depth < FOLDER_DEPTH_MAX:
                _search_folder(search, path, depth + 1)
            elif entry.is_file(follow_symlinks=False):
                _add_candidate(search, path)
            else:
                search.note(search.strangers, path, _kind_mark(entry))
    except OSError as error:
        search.note(search.damaged, folder, f"/: {error.strerror}")


def _entries(search: _Search, folder: Path) -> Iterator[os.DirEntry[str]]:
    """The names in `folder`, sorted, as long as the limit allows."""
    room = NAMES_MAX - search.names
    taken: list[os.DirEntry[str]] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if len(taken) >= room:
                search.unlisted += 1  # at least one more: counting millions is not worth it
                break
            taken.append(entry)
    search.names += len(taken)
    yield from sorted(taken, key=lambda entry: entry.name)


def _add_candidate(search: _Search, path: Path) -> None:
    if len(search.candidates) < CANDIDATES_MAX:
        search.candidates.append(path)
    else:
        search.unlisted += 1


def _has_our_suffix(path: Path) -> bool:
    return path.suffix.lower() == VOLUME_SUFFIX


def _kind_mark(entry: os.DirEntry[str]) -> str:
    """What `ls -F` would put behind the name."""
    if entry.is_symlink():
        return "@"
    return "/" if entry.is_dir(follow_symlinks=False) else ""


# --- content ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Recognised:
    """A file and what it says of itself."""

    file: FoundFile
    frame: Frame
    preamble_length: int
    preamble: bytes | None
    is_preamble_sure: bool


def _recognise(search: _Search) -> Iterator[_Recognised]:
    probes = PROBES_MAX
    for path in search.candidates:
        try:
            with open_regular(path) as fd:
                size = os.fstat(fd).st_size
                identity = identify_by_label(fd, size)
                if identity is None and probes:
                    probes -= 1
                    identity = identify_by_index(fd, size)
        except OSError as error:
            search.note(search.damaged, path, f": {error.strerror}")
            continue
        if identity is not None:
            file = FoundFile(path, identity.file_number, size)
            yield _Recognised(
                file, identity.frame, identity.preamble_length, identity.preamble, identity.is_preamble_sure
            )
        elif _has_our_suffix(path):
            search.note(search.damaged, path, ": nothing in it can be recognised")
        elif not _take_token(search, path):
            search.note(search.strangers, path)


def _take_token(search: _Search, path: Path) -> bool:
    """Whether the file is the token of this medium; its bytes are kept, and nothing of them is believed."""
    if path.name.upper() != TOKEN_NAME or path.parent.name.upper() != MEDIUM_FOLDER or search.token is not None:
        return False
    try:
        with open_regular(path) as fd:
            data = os.read(fd, TOKEN_MAX_BYTES + 1)
        read_token(data)
    except (OSError, FormatError):
        return False
    search.token = data
    return True


def _group_files(files: Iterable[_Recognised]) -> tuple[FoundVolume, ...]:
    """Files that carry the same announcement, byte for byte, and speak of the same places are one volume."""
    volumes: dict[tuple[bytes, int], list[_Recognised]] = {}
    for found in files:
        volumes.setdefault((found.frame.data, found.preamble_length), []).append(found)
    return tuple(_join_files(members) for members in volumes.values())


def _join_files(members: list[_Recognised]) -> FoundVolume:
    by_number: dict[int, list[FoundFile]] = {}
    for member in members:
        by_number.setdefault(member.file.number, []).append(member.file)
    ranked = {number: sorted(files, key=lambda file: -file.size) for number, files in sorted(by_number.items())}
    with_preamble = sorted((m for m in members if m.preamble is not None), key=lambda m: not m.is_preamble_sure)
    return FoundVolume(
        frame=members[0].frame,
        preamble=with_preamble[0].preamble if with_preamble else None,
        is_preamble_sure=bool(with_preamble) and with_preamble[0].is_preamble_sure,
        preamble_length=members[0].preamble_length,
        files={number: files[0] for number, files in ranked.items()},
        spares={number: tuple(files[1:]) for number, files in ranked.items() if len(files) > 1},
    )
