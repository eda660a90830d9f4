"""The tars of a small folder, made again from the files (content.md, Tar, to the byte)."""

from collections.abc import Iterator
from pathlib import Path

_CUT_FROM = 16 << 20  # below this many bytes a tar is never cut


def make_tar(title: str, folder: Path) -> bytes:
    """One tar of a tree that is too small to be cut (Where a tar ends)."""
    data = b"".join(_members(title.encode(), folder)) + bytes(1024)
    if len(data) > _CUT_FROM:
        raise ValueError("a tree of this size may be cut")
    return data


def _members(path: bytes, folder: Path) -> Iterator[bytes]:
    """The folder itself, its entries that are no folders, then its subfolders (Members)."""
    yield _member(path + b"/", folder, b"5")
    entries = sorted(folder.iterdir(), key=lambda entry: entry.name.encode())
    for entry in entries:
        if entry.is_symlink():
            yield _member(path + b"/" + entry.name.encode(), entry, b"2", str(entry.readlink()).encode())
        elif entry.is_file():
            yield _member(path + b"/" + entry.name.encode(), entry, b"0")
    for entry in entries:
        if entry.is_dir() and not entry.is_symlink():
            yield from _members(path + b"/" + entry.name.encode(), entry)


def _member(path: bytes, file: Path, kind: bytes, target: bytes = b"") -> bytes:
    facts = file.lstat()
    records: dict[str, bytes] = {}
    name, prefix = _path(path, records)
    link = target
    if len(target) > 100 or _beyond(target):
        records["linkpath"], link = target, _plain(target)
    if any(not _is_utf8(value) for value in records.values()):
        records["hdrcharset"] = b"BINARY"
    mtime = int(facts.st_mtime_ns // 10**9)
    if not 0 <= mtime <= 8589934591:
        records["mtime"], mtime = str(mtime).encode(), 0
    content = file.read_bytes() if kind == b"0" else b""
    mode = 0o777 if kind == b"2" else facts.st_mode & 0o777
    header = _header(name, prefix, mode, len(content), mtime, kind, link) + _filled(content)
    return (_pax(records) if records else b"") + header


def _path(path: bytes, records: dict[str, bytes]) -> tuple[bytes, bytes]:
    """Name and prefix, or a record `path`."""
    if not _beyond(path):
        if len(path) <= 100:
            return path, b""
        at = path.find(b"/", max(0, len(path) - 101))
        if 1 <= at <= 155 and at + 1 < len(path):
            return path[at + 1 :], path[:at]
    records["path"] = path
    return _plain(path), b""


def _beyond(text: bytes) -> bool:
    return any(not 1 <= byte <= 0x7F for byte in text)


def _plain(text: bytes) -> bytes:
    return bytes(byte if byte <= 0x7F else ord("_") for byte in text[:100])


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _pax(records: dict[str, bytes]) -> bytes:
    content = b""
    for keyword, value in sorted(records.items()):
        rest = b" " + keyword.encode() + b"=" + value + b"\n"
        length = len(rest) + 1
        while length != len(rest) + len(str(length)):
            length = len(rest) + len(str(length))
        content += str(length).encode() + rest
    return _header(b"PaxHeader", b"", 0o644, len(content), 0, b"x", b"") + _filled(content)


def _filled(content: bytes) -> bytes:
    return content + bytes(-len(content) % 512)


def _header(name: bytes, prefix: bytes, mode: int, size: int, mtime: int, kind: bytes, link: bytes) -> bytes:
    numbers = b"%07o\0%07o\0%07o\0%011o\0%011o\0" % (mode, 0, 0, size, mtime)
    ends = kind + link.ljust(100, b"\0") + b"ustar\x0000" + bytes(80) + prefix.ljust(155, b"\0") + bytes(12)
    start = name.ljust(100, b"\0") + numbers
    return start + b"%06o\0 " % (sum(start) + 8 * 0x20 + sum(ends)) + ends
