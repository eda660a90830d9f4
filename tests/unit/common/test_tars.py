"""What a tar may hold, and what is refused before anything is written."""

import io
import tarfile

import pytest

from tidegate.errors import FormatError, UnsafePathError
from tidegate.tars import HEADER_MAX_BYTES, Member, MemberKind, read_members, stays_inside


def member(name: str, data: bytes = b"", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, data


def tar_of(*members: tuple[tarfile.TarInfo, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def read(data: bytes) -> list[Member]:
    return list(read_members(io.BytesIO(data), len(data), "docs"))


def test_read_members_says_where_the_bytes_of_a_file_lie() -> None:
    data = tar_of(member("a/b.txt", b"hello", mode=0o640, mtime=7), member("a/run", b"#!", mode=0o4755))
    first, second = read(data)
    assert (first.path, first.kind, first.mode, first.mtime) == (("a", "b.txt"), MemberKind.FILE, 0o640, 7)
    assert data[first.offset : first.offset + first.size] == b"hello"
    assert second.mode == 0o755
    assert data[second.offset : second.offset + second.size] == b"#!"


def test_read_members_takes_long_names_and_names_that_are_not_utf8() -> None:
    long = "/".join(["x" * 200] * 5)
    (found,) = read(tar_of(member(long, b"1")))
    assert found.name == long
    (odd,) = read(tar_of(member("caf\udce9", b"1"), form=tarfile.GNU_FORMAT))
    assert odd.name == "caf\udce9"


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../x", "a/..", "//x"])
def test_read_members_refuses_a_path_outside_of_the_target(name: str) -> None:
    with pytest.raises(UnsafePathError, match="outside of the target"):
        read(tar_of(member(name, b"x")))


@pytest.mark.parametrize("name", ["x" * 256, "/".join(["d" * 200] * 21)])
def test_read_members_refuses_a_path_that_is_too_long(name: str) -> None:
    with pytest.raises(UnsafePathError, match="too long"):
        read(tar_of(member(name, b"x")))


@pytest.mark.parametrize("target", ["/etc/passwd", "../x", "a/../../x", "loop/../..", "b/.."])
def test_stays_inside_finds_a_link_that_may_lead_outside(target: str) -> None:
    assert not stays_inside(("top",), target)


@pytest.mark.parametrize("target", ["../c/x", "..", "d/e", ".", "../../up"])
def test_stays_inside_takes_a_link_that_stays_inside(target: str) -> None:
    assert stays_inside(("a", "b", "link"), target)


def test_read_members_gives_links_as_they_are_and_refuses_one_without_a_target() -> None:
    (found,) = read(tar_of(member("a", type=tarfile.SYMTYPE, linkname="/etc/passwd")))
    assert (found.kind, found.target) == (MemberKind.LINK, "/etc/passwd")
    with pytest.raises(UnsafePathError, match="no path"):
        read(tar_of(member("a", type=tarfile.SYMTYPE, linkname="")))


@pytest.mark.parametrize(
    "kind", [tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.CONTTYPE]
)
def test_read_members_refuses_what_is_no_file_folder_or_symbolic_link(kind: bytes) -> None:
    with pytest.raises(UnsafePathError, match="neither"):
        read(tar_of(member("x", type=kind, linkname="y")))


def test_read_members_refuses_a_size_beyond_the_end() -> None:
    info, _ = member("huge")
    info.size = 1 << 50
    with pytest.raises(FormatError):
        read(info.tobuf(tarfile.GNU_FORMAT))


def test_read_members_refuses_a_negative_size() -> None:
    info, _ = member("back", b"x")
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[124:136] = b"\xff" * 11 + b"\x00"  # base-256, negative
    header[148:156] = b"%06o\0 " % sum(header[:148] + b" " * 8 + header[156:])
    with pytest.raises(FormatError):
        read(bytes(header) + b"x" * 512)


def test_read_members_refuses_a_negative_size_in_an_extended_header() -> None:
    data = tar_of(member("a", b"1"), member("b", b"2", pax_headers={"size": "-4096"}))
    with pytest.raises((FormatError, UnsafePathError)):
        read(data)


def test_read_members_refuses_an_extended_header_above_the_limit() -> None:
    with pytest.raises(FormatError, match="header"):
        read(tar_of(member("a", b"1", pax_headers={"comment": "x" * HEADER_MAX_BYTES})))


def test_read_members_refuses_global_headers_and_sparse_files() -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", pax_headers={"comment": "x"}) as tar:
        tar.addfile(member("a")[0])
    with pytest.raises(FormatError, match="header"):
        read(out.getvalue())
    sparse = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "s", "GNU.sparse.realsize": "9"}
    with pytest.raises(FormatError, match="sparse"):
        read(tar_of(member("a", b"1\n" * 700, pax_headers=sparse)))
