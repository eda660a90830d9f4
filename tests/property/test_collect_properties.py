"""Trees, tars and transfer lists of any kind: read back by tarfile, cut by the rules, faults only as ours."""

import io
import os
import tarfile
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.depot.graph import walk
from tidegate.depot.store import Depot
from tidegate.errors import UsageError
from tidegate.oci import OCI_LAYER_TAR
from tidegate_sender.collect.files import collect_files
from tidegate_sender.collect.lists.transfer_list import parse_transfer_list
from tidegate_sender.collect.tar import BLOCK, END_BYTES, Member, MemberKind, header, header_length
from tidegate_sender.collect.tree import Tree

NAMES = st.binary(min_size=1, max_size=60).filter(lambda name: not {0, 47} & set(name) and name not in {b".", b".."})
PATHS = st.lists(NAMES, min_size=1, max_size=6).map(b"/".join)
LIMIT = 16 * 1024


@given(PATHS, st.integers(0, 2**42), st.integers(-(2**62), 2**62), st.integers(0, 0o777))
def test_any_file_member_reads_back(path: bytes, size: int, mtime_ns: int, mode: int) -> None:
    member = Member(path, MemberKind.FILE, mode, size, mtime_ns)
    data = header(member)
    assert len(data) == header_length(member)
    assert len(data) % BLOCK == 0
    with tarfile.open(fileobj=io.BytesIO(data + bytes(END_BYTES)), errors="surrogateescape") as tar:
        info = tar.next()
    assert info is not None
    assert os.fsencode(info.name) == path.rstrip(b"/")
    assert (info.size, info.mtime, info.mode, info.uid, info.gid) == (size, mtime_ns // 10**9, mode, 0, 0)


@given(PATHS, st.binary(min_size=1, max_size=300).filter(lambda target: 0 not in target))
def test_any_link_member_reads_back(path: bytes, target: bytes) -> None:
    member = Member(path, MemberKind.LINK, 0o777, 0, 0, target=target)
    data = header(member)
    assert len(data) == header_length(member)
    with tarfile.open(fileobj=io.BytesIO(data + bytes(END_BYTES)), errors="surrogateescape") as tar:
        info = tar.next()
    assert info is not None
    assert os.fsencode(info.linkname) == target


TREES = st.dictionaries(
    st.lists(st.sampled_from([b"a", b"b", b"c\xff", b"d" * 120, "é".encode()]), min_size=1, max_size=4).map(tuple),
    st.integers(0, 6000),
    max_size=12,
)


def build(folder: bytes, tree: dict[tuple[bytes, ...], int]) -> dict[bytes, bytes]:
    """Write the tree; gives files by path. A path that runs through a file is left out."""
    written: dict[bytes, bytes] = {}
    os.makedirs(folder)  # noqa: PTH103
    for parts, size in tree.items():
        parent = os.path.join(folder, *parts[:-1])  # noqa: PTH118
        path = os.path.join(parent, parts[-1])  # noqa: PTH118
        try:
            os.makedirs(parent, exist_ok=True)  # noqa: PTH103
            with open(path, "xb") as file:
                file.write(bytes([size % 251]) * size)
        except OSError:
            continue
        written[b"/".join(parts)] = bytes([size % 251]) * size
    return written


@settings(max_examples=40, deadline=None)
@given(TREES)
def test_any_tree_is_cut_by_the_rules_and_reads_back(tree: dict[tuple[bytes, ...], int]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = os.fsencode(scratch) + b"/top"
        files = build(folder, tree)
        depot = Depot(Path(scratch) / "depot")
        with depot.commit() as commit:
            result = collect_files(Path(os.fsdecode(folder)), "top", commit, tar_max_bytes=LIMIT)
        layers = [blob for blob in walk(depot, result.descriptor) if blob.media_type == OCI_LAYER_TAR]
        plans = list(Tree(folder, b"top").tars(max_bytes=LIMIT))
        assert [layer.size for layer in layers] == [plan.length for plan in plans]
        found: dict[bytes, bytes] = {}
        for layer, plan in zip(layers, plans, strict=True):
            assert layer.size <= LIMIT or len(plan.members) == 1
            with tarfile.open(depot.blob_path(layer.digest), errors="surrogateescape") as tar:
                for info in tar:
                    content = tar.extractfile(info) if info.isreg() else None
                    if content is not None:
                        found[os.fsencode(info.name).removeprefix(b"top/")] = content.read()
        assert found == files


YAMLISH = st.text(alphabet="tidegate: 1\n-[]{}'\"&*!|>#imaglesfr,x\t", max_size=80)


@given(st.binary(max_size=100) | YAMLISH.map(str.encode) | YAMLISH.map(lambda text: b"tidegate: 1\n" + text.encode()))
def test_any_bytes_are_a_transfer_list_or_a_fault_that_names_the_file(data: bytes) -> None:
    try:
        parse_transfer_list(data, "list.yaml", Path("/lists"))
    except UsageError as error:
        assert error.message.startswith("list.yaml")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just("linux/amd64"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["ref", "path", "name", "platforms", "required", "x"]), inner, max_size=4)
    ),
)


@given(st.dictionaries(st.sampled_from(["images", "files", "layouts", "imags"]), VALUES, max_size=3))
def test_any_values_are_a_transfer_list_or_a_fault_that_names_the_file(values: dict[str, object]) -> None:
    import yaml

    data = yaml.safe_dump({"tidegate": 1, **values}).encode()
    try:
        parse_transfer_list(data, "list.yaml", Path("/lists"))
    except UsageError as error:
        assert error.message.startswith("list.yaml")
