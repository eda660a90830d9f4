"""Read the members of a tar that came from a stranger, without trusting one word of it.

`tarfile` decodes the headers. Around it stand the checks that a hostile tar runs into: no header of more than 64 KiB
is read, reading never goes backwards (a negative size would loop for ever), a path stays below its
folder, and only plain files, folders and symbolic links exist. Nothing is written here, and a file's
content is not read: a member says where its bytes lie. Form of the tars: docs/format/content.md.
"""

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, BinaryIO, cast

from tidegate.errors import FormatError, UnsafePathError
from tidegate.units import KIB

HEADER_MAX_BYTES = 64 * KIB  # an extended header; the largest honest one holds two paths
PATH_MAX_BYTES = 4095  # Linux: PATH_MAX less the final zero
COMPONENT_MAX_BYTES = 255  # Linux: NAME_MAX
#: as the `data` filter of tarfile: others never write, the owner always may
_MODE_KEPT, _FILE_MODE_GIVEN, _FOLDER_MODE_GIVEN = 0o755, 0o600, 0o700
#: what tarfile raises for bytes that are no tar
_BROKEN = (tarfile.TarError, ValueError, OverflowError, EOFError, IndexError, RecursionError)
_EXTENDED = {tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK}
#: headers that no sender of ours writes, and that tarfile would gather in memory without a bound
_UNBOUNDED = {tarfile.XGLTYPE, tarfile.GNUTYPE_SPARSE}


class MemberKind(StrEnum):
    FILE = "file"
    FOLDER = "folder"
    LINK = "link"


@dataclass(frozen=True, slots=True)
class Member:
    """One member that may be written: its path as components, and where its bytes lie in the tar."""

    path: tuple[str, ...]
    kind: MemberKind
    offset: int
    size: int
    mode: int  # permission bits; without setuid, setgid, sticky, and what lets others write
    mtime: int
    target: str = ""  # of a link

    @property
    def name(self) -> str:
        return "/".join(self.path)


def read_members(file: BinaryIO, length: int, what: str) -> Iterator[Member]:
    """The members of the tar in `file`, `length` bytes long, in order; `what` names it in errors.

    Raises FormatError for bytes that are no tar, UnsafePathError for a member that must not be written.
    """
    with _open(file, what) as tar:
        while (info := _next(tar, what)) is not None:
            # tarfile keeps every member, and a large tar has a hundred thousand.
            tar.members.clear()  # type: ignore[attr-defined]
            member = _checked(info, what)
            if member.size < 0 or member.offset + member.size > length:
                raise FormatError(f"{what}: {member.name}: {member.size} bytes reach beyond the tar's end")
            if member.path:
                yield member


def _open(file: BinaryIO, what: str) -> tarfile.TarFile:
    try:
        forward = cast("BinaryIO", _ForwardFile(file))
        return tarfile.TarFile(
            fileobj=forward, mode="r", tarinfo=_BoundedInfo, encoding="utf-8", errors="surrogateescape"
        )
    except _BROKEN as error:
        raise FormatError(f"{what}: no tar: {error}") from None


def _next(tar: tarfile.TarFile, what: str) -> tarfile.TarInfo | None:
    try:
        return tar.next()
    except _BROKEN as error:
        raise FormatError(f"{what}: no tar: {error}") from None


class _BoundedInfo(tarfile.TarInfo):
    """A header whose extended part is small and whose size is not negative."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "_BoundedInfo":
        info = super().frombuf(buf, encoding, errors)
        if info.size < 0 or (info.type in _EXTENDED and info.size > HEADER_MAX_BYTES):
            raise tarfile.HeaderError(f"a header of {info.size} bytes, the limit is {HEADER_MAX_BYTES}")
        if info.type in _UNBOUNDED:
            raise tarfile.HeaderError(f"a header of type {info.type!r}, which is not taken")
        return info

    def _proc_gnusparse_10(self, *_: object) -> None:  # the map of a sparse file, of any length
        raise tarfile.HeaderError("a sparse file, which is not taken")


class _ForwardFile:
    """A file that is only read forwards, and in small pieces (CVE-2025-8194 loops by going back)."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, count: int) -> bytes:
        if not 0 <= count <= HEADER_MAX_BYTES + tarfile.BLOCKSIZE:
            raise tarfile.ReadError(f"a header of {count} bytes")
        return self._file.read(count)

    def seek(self, position: int) -> int:
        if position < self._file.tell():
            raise tarfile.ReadError("a member that goes back in the tar")
        return self._file.seek(position)

    def tell(self) -> int:
        return self._file.tell()


def _checked(info: tarfile.TarInfo, what: str) -> Member:
    path = checked_path(info.name, what)
    mode = info.mode & _MODE_KEPT
    if info.issym():
        return Member(path, MemberKind.LINK, 0, 0, 0o777, _mtime(info), _checked_text(info.linkname, path, what))
    if info.isdir():
        return Member(path, MemberKind.FOLDER, 0, 0, mode | _FOLDER_MODE_GIVEN, _mtime(info))
    if info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or info.issparse():
        raise UnsafePathError(f"{what}: {info.name}: neither file, folder nor symbolic link (type {info.type!r})")
    return Member(path, MemberKind.FILE, info.offset_data, info.size, mode | _FILE_MODE_GIVEN, _mtime(info))


def _mtime(info: tarfile.TarInfo) -> int:
    """Whole seconds within what every file system keeps."""
    value: Any = info.mtime
    return int(min(max(value, 0), 2**33)) if value == value else 0  # noqa: PLR0124  NaN is not equal to itself


def checked_path(name: str, what: str) -> tuple[str, ...]:
    """`name` as components below its folder; raises UnsafePathError where it would leave it."""
    components = tuple(item for item in name.split("/") if item not in ("", "."))
    encoded = _encoded(name, what)
    if name.startswith("/") or ".." in components or "\0" in name:
        raise UnsafePathError(f"{what}: {name!r}: would land outside of the target")
    if len(encoded) > PATH_MAX_BYTES or any(len(_encoded(item, what)) > COMPONENT_MAX_BYTES for item in components):
        raise UnsafePathError(f"{what}: {name[:100]!r}…: the path is too long")
    return components


def _checked_text(target: str, path: tuple[str, ...], what: str) -> str:
    if not target or "\0" in target or len(_encoded(target, what)) > PATH_MAX_BYTES:
        raise UnsafePathError(f"{what}: {'/'.join(path)}: a link whose target is no path")
    return target


def stays_inside(path: tuple[str, ...], target: str) -> bool:
    """Whether the symbolic link at `path` stays inside of the tree, whatever other links stand beside it.

    Steps upwards may only come first: the folders above a link are real ones, so going up is bounded by
    counting, and after that each step leads down, or through a link for which the same holds. An inner ``..``
    after another link could leave the tree though it looks harmless.
    """
    components = [item for item in target.split("/") if item not in ("", ".")]
    up = next((index for index, item in enumerate(components) if item != ".."), len(components))
    return not target.startswith("/") and up < len(path) and ".." not in components[up:]


def _encoded(text: str, what: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise UnsafePathError(f"{what}: {text[:100]!a}: not a file name") from None
