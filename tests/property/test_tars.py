"""Any bytes as a tar end in members that are safe, or in one of our errors."""

import io
import tarfile

from hypothesis import given
from hypothesis import strategies as st

from tidegate.errors import FormatError, UnsafePathError
from tidegate.tars import Member, MemberKind, checked_path, read_members, stays_inside

NAMES = st.text(st.sampled_from("ab./\0é"), max_size=12)
TYPES = st.sampled_from([b"0", b"5", b"2", b"1", b"x", b"L", b"g", b"S", b"\0"])


def members_of(data: bytes) -> list[Member]:
    try:
        return list(read_members(io.BytesIO(data), len(data), "any"))
    except (FormatError, UnsafePathError):
        return []


def header(name: str, kind: bytes, size: int, link: str) -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, size, link
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")


def is_safe(member: Member, length: int) -> bool:
    inside = member.offset + member.size <= length and member.offset >= 0 and member.size >= 0
    return inside and bool(member.path) and not {"", ".", ".."} & set(member.path)


@given(st.binary(max_size=2048))
def test_any_bytes_end_in_safe_members_or_one_of_our_errors(data: bytes) -> None:
    assert all(is_safe(member, len(data)) for member in members_of(data))


@given(st.lists(st.tuples(NAMES, TYPES, st.integers(0, 2**33), NAMES, st.binary(max_size=600)), max_size=5))
def test_any_run_of_headers_ends_in_safe_members_or_one_of_our_errors(
    parts: list[tuple[str, bytes, int, str, bytes]],
) -> None:
    data = b"".join(
        header(name, kind, size, link) + body.ljust(-(-len(body) // 512) * 512, b"\0")
        for name, kind, size, link, body in parts
    )
    assert all(is_safe(member, len(data)) for member in members_of(data))


@given(st.lists(st.tuples(st.integers(0, 3), st.text(st.sampled_from("abc./"), max_size=9)), max_size=6))
def test_links_that_pass_never_lead_outside_whatever_stands_beside_them(links: list[tuple[int, str]]) -> None:
    """Resolve every accepted link step by step among all the others, as a kernel would."""
    taken: dict[tuple[str, ...], str] = {}
    for depth, target in links:
        path = (*("d" for _ in range(depth)), "abc"[len(taken) % 3])
        if target and stays_inside(path, target):
            taken.setdefault(path, target)
    for path in taken:
        resolve(taken, list(path))


def resolve(links: dict[tuple[str, ...], str], left: list[str]) -> None:
    here: list[str] = []
    for _ in range(200):
        if not left:
            return
        step = left.pop(0)
        if step == "..":
            assert here, "above the target"
            here.pop()
        elif (*here, step) in links:
            left[:0] = [item for item in links[(*here, step)].split("/") if item not in ("", ".")]
        else:
            here.append(step)


@given(st.text(max_size=30))
def test_any_name_ends_in_plain_components_or_is_refused(name: str) -> None:
    try:
        path = checked_path(name, "any")
    except UnsafePathError:
        return
    assert all(item and item not in {".", ".."} and "/" not in item and "\0" not in item for item in path)


def test_a_member_is_only_a_file_a_folder_or_a_link() -> None:
    assert set(MemberKind) == {MemberKind.FILE, MemberKind.FOLDER, MemberKind.LINK}
