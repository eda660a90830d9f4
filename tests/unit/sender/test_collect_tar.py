"""Bytes of a member: docs/format/content.md, "Tar, to the byte"."""

import io
import tarfile

import pytest

from tidegate_sender.collect.tar import BLOCK, END_BYTES, Member, MemberKind, header, header_length

NS = 1_000_000_000


def file(path: bytes, *, size: int = 0, mtime: int = 0, mode: int = 0o644) -> Member:
    return Member(path, MemberKind.FILE, mode, size, mtime * NS)


def read_back(member: Member) -> tarfile.TarInfo:
    data = header(member) + bytes(min(member.size, 512) + END_BYTES)
    with tarfile.open(fileobj=io.BytesIO(data), encoding="utf-8", errors="surrogateescape") as tar:
        first = tar.next()
    assert first is not None
    return first


def test_a_plain_member_is_one_header_with_the_documented_bytes() -> None:
    data = header(file(b"docs/a.txt", size=5, mtime=1_700_000_000, mode=0o640))
    assert len(data) == BLOCK
    assert data[:100] == b"docs/a.txt".ljust(100, b"\0")
    assert data[100:148] == b"0000640\0" + b"0000000\0" * 2 + b"00000000005\0" + b"14524770400\0"
    assert data[156:157] == b"0"
    assert data[257:265] == b"ustar\x0000"
    assert not any(data[265:])
    checksum = sum(data[:148]) + 8 * 32 + sum(data[156:])
    assert data[148:156] == b"%06o\0 " % checksum


@pytest.mark.parametrize("length", [1, 99, 100, 101, 102, 150, 255, 256, 257, 3000])
@pytest.mark.parametrize("letter", [b"a", "ä".encode(), b"\xff"])
def test_a_path_of_any_length_and_bytes_reads_back(length: int, letter: bytes) -> None:
    path = b"top/" + b"/".join([letter * 20] * (length // 20 + 1))
    member = file(path)
    assert read_back(member).name.encode("utf-8", "surrogateescape") == path
    assert len(header(member)) == header_length(member)


@pytest.mark.parametrize(
    ("path", "name", "prefix"),
    [
        (b"p/" + b"n" * 100, b"n" * 100, b"p"),
        (b"p" * 155 + b"/" + b"n" * 100, b"n" * 100, b"p" * 155),
        (b"a/b/" + b"n" * 98, b"b/" + b"n" * 98, b"a"),
        (b"a" * 60 + b"/" + b"b" * 60 + b"/", b"b" * 60 + b"/", b"a" * 60),
    ],
)
def test_a_long_path_is_cut_at_the_first_slash_that_fits(path: bytes, name: bytes, prefix: bytes) -> None:
    data = header(file(path))
    assert len(data) == BLOCK
    assert data[:100].rstrip(b"\0") == name
    assert data[345:500].rstrip(b"\0") == prefix


@pytest.mark.parametrize(
    "path", [b"p" * 156 + b"/" + b"n" * 100, b"n" * 101, b"a" * 101 + b"/", b"/".join([b"x" * 99] * 3)]
)
def test_a_path_that_no_cut_fits_has_a_pax_header(path: bytes) -> None:
    data = header(file(path))
    assert data[156:157] == b"x"
    assert data[:100].rstrip(b"\0") == b"PaxHeader"
    assert b" path=" + path + b"\n" in data
    assert read_back(file(path)).name == path.decode().rstrip("/")


def test_a_path_that_is_not_utf8_is_marked_binary_first() -> None:
    data = header(file(b"top/\xff\xfe"))
    assert data[512:].startswith(b"21 hdrcharset=BINARY\n15 path=top/\xff\xfe\n")
    assert data[1024:1124].rstrip(b"\0") == b"top/__"


@pytest.mark.parametrize("seconds", [-1, -(10**9), 8**11 - 1, 8**11, 10**12])
def test_a_time_of_any_size_reads_back(seconds: int) -> None:
    assert read_back(file(b"a", mtime=seconds)).mtime == seconds


def test_parts_of_seconds_are_rounded_down() -> None:
    member = Member(b"a", MemberKind.FILE, 0o644, 0, -1)
    assert read_back(member).mtime == -1
    assert b"mtime=-1\n" in header(member)


@pytest.mark.parametrize("size", [8**11 - 1, 8**11, 2**42])
def test_a_size_of_any_length_reads_back(size: int) -> None:
    member = file(b"a", size=size)
    data = header(member)
    assert (b"size=" in data) is (size >= 8**11)
    assert member.length == len(data) + size + -size % BLOCK
    info = tarfile.TarInfo.frombuf(data[-BLOCK:], "utf-8", "strict")
    assert info.size == (size if size < 8**11 else 0)


@pytest.mark.parametrize("target", [b"x", b"x" * 100, b"x" * 101, "ü".encode(), b"\xff", b"/etc/passwd", b"../" * 50])
def test_a_link_keeps_its_target(target: bytes) -> None:
    member = Member(b"top/link", MemberKind.LINK, 0o777, 0, 0, target=target)
    info = read_back(member)
    assert info.issym()
    assert info.linkname.encode("utf-8", "surrogateescape") == target
    assert len(header(member)) == header_length(member)


def test_the_length_of_a_pax_record_counts_its_own_digits() -> None:
    for count in range(80, 110):
        path = b"\xc3\xa4" * count
        assert read_back(file(path)).name.encode() == path
