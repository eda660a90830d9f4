"""Headers of the deterministic tar in docs/format/content.md: bytes of one member, from values. No file is opened here.

Python's tarfile is not used for writing: it costs a multiple of the time for 100,000 small files, and what it writes
has changed between versions; a test reads everything back with it.
"""

from dataclasses import dataclass
from enum import StrEnum

BLOCK = 512
END_BYTES = 2 * BLOCK
_NUMBER_MAX = 8**11 - 1
_NAME_MAX, _PREFIX_MAX = 100, 155
_ZEROS_80, _ZEROS_12 = bytes(80), bytes(12)
_ABOVE_ASCII = bytes.maketrans(bytes(range(128, 256)), b"_" * 128)


class MemberKind(StrEnum):
    """The type byte of a member."""

    FILE = "0"
    LINK = "2"
    FOLDER = "5"


@dataclass(frozen=True, slots=True)
class Member:
    """One entry of a tree: `path` as in the tar (a folder's ends with a slash), `size` in bytes.

    `inode` and `mtime_ns` are what the file had when it was found; whoever reads it compares.
    """

    path: bytes
    kind: MemberKind
    mode: int
    size: int
    mtime_ns: int
    inode: int = 0
    target: bytes = b""

    @property
    def length(self) -> int:
        """Bytes in the tar: headers and filled content."""
        return header_length(self) + self.size + -self.size % BLOCK


def header_length(member: Member) -> int:
    """Length of the ustar header and of the pax header before it, if it needs one."""
    # Most members need none: this spares building records for 100,000 files.
    if _is_plain(member):
        return BLOCK
    content = sum(map(len, _records(member)))
    return 2 * BLOCK + content + -content % BLOCK if content else BLOCK


def header(member: Member) -> bytes:
    """The ustar header of a member, behind its pax header where it needs one."""
    seconds = member.mtime_ns // 1_000_000_000
    name, prefix = _split_path(member.path) or (_shortened(member.path), b"")
    target = member.target if _fits(member.target) else _shortened(member.target)
    head = _ustar(
        name,
        prefix,
        mode=member.mode,
        size=member.size if member.size <= _NUMBER_MAX else 0,
        mtime=seconds if 0 <= seconds <= _NUMBER_MAX else 0,
        kind=member.kind.value.encode(),
        target=target,
    )
    return head if _is_plain(member) else _pax(member) + head


def _pax(member: Member) -> bytes:
    content = b"".join(_records(member))
    if not content:
        return b""
    head = _ustar(b"PaxHeader", b"", mode=0o644, size=len(content), mtime=0, kind=b"x", target=b"")
    return head + content + bytes(-len(content) % BLOCK)


def _is_plain(member: Member) -> bool:
    """Whether the ustar fields surely say everything; the quick half of `_records`."""
    return (
        len(member.path) <= _NAME_MAX
        and member.path.isascii()
        and not member.target
        and member.size <= _NUMBER_MAX
        and 0 <= member.mtime_ns // 1_000_000_000 <= _NUMBER_MAX
    )


def _records(member: Member) -> list[bytes]:
    """The pax records that a member needs, sorted by keyword."""
    records = []
    seconds = member.mtime_ns // 1_000_000_000
    texts = []
    if not _fits(member.target):
        texts.append(member.target)
        records.append(_record(b"linkpath", member.target))
    if not 0 <= seconds <= _NUMBER_MAX:
        records.append(_record(b"mtime", b"%d" % seconds))
    if _split_path(member.path) is None:
        texts.append(member.path)
        records.append(_record(b"path", member.path))
    if member.size > _NUMBER_MAX:
        records.append(_record(b"size", b"%d" % member.size))
    if not all(map(_is_utf8, texts)):
        records.insert(0, _record(b"hdrcharset", b"BINARY"))
    return records


def _record(keyword: bytes, value: bytes) -> bytes:
    """``LENGTH KEYWORD=VALUE\\n``, where LENGTH counts its own digits too."""
    rest = len(keyword) + len(value) + 3
    length = rest + len(str(rest))
    length = rest + len(str(length))
    return b"%d %b=%b\n" % (length, keyword, value)


def _fits(text: bytes) -> bool:
    return len(text) <= _NAME_MAX and text.isascii()


def _split_path(path: bytes) -> tuple[bytes, bytes] | None:
    """(name, prefix) where the ustar fields hold the path, else None."""
    if not path.isascii():
        return None
    if len(path) <= _NAME_MAX:
        return path, b""
    # The first slash behind which at most 100 bytes remain: it lies at or after len - 101, never as the last byte.
    cut = path.find(b"/", max(1, len(path) - _NAME_MAX - 1), len(path) - 1)
    if cut < 0 or cut > _PREFIX_MAX:
        return None
    return path[cut + 1 :], path[:cut]


def _shortened(text: bytes) -> bytes:
    return text[:_NAME_MAX].translate(_ABOVE_ASCII)


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _ustar(name: bytes, prefix: bytes, *, mode: int, size: int, mtime: int, kind: bytes, target: bytes) -> bytes:
    before = b"%b%07o\x000000000\x000000000\x00%011o\x00%011o\x00" % (name.ljust(100, b"\0"), mode, size, mtime)
    after = b"%b%bustar\x0000%b%b%b" % (kind, target.ljust(100, b"\0"), _ZEROS_80, prefix.ljust(155, b"\0"), _ZEROS_12)
    checksum = sum(before) + 8 * 32 + sum(after)
    return b"%b%06o\x00 %b" % (before, checksum, after)
