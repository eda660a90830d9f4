"""A folder or file as an artifact of deterministic tars: docs/format/content.md."""

import errno
import io
import json
import os
import shutil
import socket
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tidegate.depot.descriptors import Descriptor
from tidegate.depot.graph import walk
from tidegate.depot.store import Depot
from tidegate.errors import CollectError, SourceChangedError, UsageError
from tidegate.oci import FILES_TYPE, OCI_INDEX, OCI_LAYER_TAR
from tidegate_sender.collect import files as files_module
from tidegate_sender.collect.files import FilesResult, collect_files, title_of
from tidegate_sender.collect.tree import TAR_MAX_BYTES, Tree

SMALL = 64 * 1024  # a tar limit that tests can fill


def collected(folder: Path, depot: Depot, *, title: str = "docs", **options: Any) -> FilesResult:
    with depot.commit() as commit:
        return collect_files(folder, title, commit, **options)


def tars(depot: Depot, root: Descriptor) -> list[bytes]:
    layers = [blob for blob in walk(depot, root) if blob.media_type == OCI_LAYER_TAR]
    return [depot.read_blob(layer.digest, max_bytes=TAR_MAX_BYTES) for layer in layers]


def members(depot: Depot, root: Descriptor) -> dict[str, tuple[tarfile.TarInfo, bytes]]:
    found = {}
    for data in tars(depot, root):
        with tarfile.open(fileobj=io.BytesIO(data), errors="surrogateescape") as tar:
            for info in tar:
                assert info.name not in found
                content = tar.extractfile(info) if info.isreg() else None
                found[info.name] = (info, content.read() if content else b"")
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    top = tmp_path / "docs"
    (top / "b" / "deep").mkdir(parents=True)
    (top / "a").mkdir()
    (top / "z.txt").write_text("last of the top")
    (top / "a" / "one").write_bytes(b"1" * 1000)
    (top / "b" / "deep" / "two").write_bytes(b"2" * 513)
    return top


def test_a_folder_becomes_one_tar_and_a_manifest_over_it(folder: Path, depot: Depot) -> None:
    result = collected(folder, depot)
    manifest = json.loads(depot.read_blob(result.descriptor.digest, max_bytes=9999))
    assert manifest["artifactType"] == result.descriptor.artifact_type == FILES_TYPE
    assert manifest["annotations"] == {
        "org.opencontainers.image.title": "docs",
        "vnd.tidegate.files.bytes": "1528",
        "vnd.tidegate.files.entries": "7",
    }
    assert [layer["annotations"] for layer in manifest["layers"]] == [
        {"org.opencontainers.image.title": "docs.00001.tar"}
    ]
    assert result.size_bytes == sum(blob.size for blob in walk(depot, result.descriptor))


def test_c10_members_come_folder_by_folder_in_name_order(folder: Path, depot: Depot) -> None:
    names = list(members(depot, collected(folder, depot).descriptor))
    assert names == ["docs", "docs/z.txt", "docs/a", "docs/a/one", "docs/b", "docs/b/deep", "docs/b/deep/two"]


def test_the_same_tree_gives_the_same_bytes(folder: Path, depot: Depot, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)  # keeps times
    assert collected(copy, depot).descriptor == collected(folder, depot).descriptor


def test_collecting_again_adds_nothing(folder: Path, depot: Depot) -> None:
    collected(folder, depot)
    before = set(depot.digests())
    with depot.commit() as commit:
        collect_files(folder, "docs", commit)
        assert commit.new_bytes == 0
    assert set(depot.digests()) == before


def test_a_single_file_is_one_member_by_its_title(tmp_path: Path, depot: Depot) -> None:
    (tmp_path / "x.iso").write_bytes(b"iso" * 1000)
    found = members(depot, collected(tmp_path / "x.iso", depot, title="x.iso").descriptor)
    assert {name: content for name, (_info, content) in found.items()} == {"x.iso": b"iso" * 1000}


def test_an_empty_folder_is_one_member(tmp_path: Path, depot: Depot) -> None:
    (tmp_path / "empty").mkdir()
    result = collected(tmp_path / "empty", depot)
    assert list(members(depot, result.descriptor)) == ["docs"]
    assert result.entries == 1


def test_modes_keep_permission_bits_alone_and_owners_are_root(folder: Path, depot: Depot) -> None:
    (folder / "z.txt").chmod(0o4751)
    info, _ = members(depot, collected(folder, depot).descriptor)["docs/z.txt"]
    assert (info.mode, info.uid, info.gid, info.uname, info.gname) == (0o751, 0, 0, "", "")


def test_times_are_kept_in_whole_seconds(folder: Path, depot: Depot) -> None:
    os.utime(folder / "z.txt", ns=(0, 1_234_567_890_999_999_999))
    info, _ = members(depot, collected(folder, depot).descriptor)["docs/z.txt"]
    assert info.mtime == 1_234_567_890


def test_links_are_kept_and_not_followed(folder: Path, depot: Depot) -> None:
    (folder / "inside").symlink_to("a/one")
    (folder / "outside").symlink_to("/etc")
    (folder / "nowhere").symlink_to("missing")
    found = members(depot, collected(folder, depot).descriptor)
    targets = {name: info.linkname for name, (info, _) in found.items() if info.issym()}
    assert targets == {"docs/inside": "a/one", "docs/outside": "/etc", "docs/nowhere": "missing"}


def test_hard_links_are_written_as_files(folder: Path, depot: Depot) -> None:
    os.link(folder / "z.txt", folder / "y.txt")
    found = members(depot, collected(folder, depot).descriptor)
    assert found["docs/y.txt"][1] == found["docs/z.txt"][1] == b"last of the top"
    assert found["docs/y.txt"][0].isreg()


def test_names_that_are_not_utf8_and_long_ones_are_kept(folder: Path, depot: Depot) -> None:
    names = [os.fsencode(folder) + b"/\xff\xfe", os.fsencode(folder / ("n" * 255)), os.fsencode(folder / "zwölf\n")]
    for name in names:
        with open(name, "wb") as file:
            file.write(name)
    found = members(depot, collected(folder, depot).descriptor)
    for name in names:
        assert found[os.fsdecode(b"docs/" + os.path.basename(name))][1] == name  # noqa: PTH119


def test_sockets_and_fifos_are_left_out_and_listed(folder: Path, depot: Depot, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(folder / "a" / "fifo")
    monkeypatch.chdir(folder)  # the address of a socket must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        result = collected(folder, depot)
    assert result.skipped == (str(folder / "socket"), str(folder / "a" / "fifo"))
    assert not {"docs/socket", "docs/a/fifo"} & set(members(depot, result.descriptor))


def test_a_fifo_named_itself_is_refused(tmp_path: Path, depot: Depot) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(CollectError, match="neither a file nor a folder"):
        collected(tmp_path / "fifo", depot)


def test_what_is_not_there_is_named(tmp_path: Path, depot: Depot) -> None:
    with pytest.raises(CollectError, match="no such file or folder"):
        collected(tmp_path / "nothing", depot)


def make_large(folder: Path, folders: int, files: int, size: int) -> None:
    for outer in range(folders):
        (folder / f"d{outer:02d}").mkdir(parents=True, exist_ok=True)
        for inner in range(files):
            (folder / f"d{outer:02d}" / f"f{inner:02d}").write_bytes(bytes([outer, inner]) * (size // 2))


def test_c11_no_tar_is_longer_than_its_limit_and_borders_lie_between_folders(tmp_path: Path, depot: Depot) -> None:
    make_large(tmp_path / "big", 30, 10, 1000)
    result = collected(tmp_path / "big", depot, tar_max_bytes=SMALL)
    parts = tars(depot, result.descriptor)
    assert len(parts) > 3
    assert all(len(part) <= SMALL for part in parts)
    for part in parts:
        with tarfile.open(fileobj=io.BytesIO(part)) as tar:
            first = tar.next()
            assert first is not None
            assert first.isdir()
    assert len(members(depot, result.descriptor)) == 1 + 30 + 300


def test_c11_a_folder_longer_than_a_tar_is_cut_between_its_files(tmp_path: Path, depot: Depot) -> None:
    make_large(tmp_path / "flat", 1, 100, 2000)
    parts = tars(depot, collected(tmp_path / "flat", depot, tar_max_bytes=SMALL).descriptor)
    assert len(parts) > 3
    assert all(len(part) <= SMALL for part in parts)


def test_c11_a_file_longer_than_a_tar_stands_alone(tmp_path: Path, depot: Depot) -> None:
    make_large(tmp_path / "big", 1, 3, 1000)
    (tmp_path / "big" / "d00" / "f01").write_bytes(b"x" * (SMALL + 1))
    parts = tars(depot, collected(tmp_path / "big", depot, tar_max_bytes=SMALL).descriptor)
    names = [tarfile.open(fileobj=io.BytesIO(part)).getnames() for part in parts]  # noqa: SIM115
    assert names == [["docs"], ["docs/d00", "docs/d00/f00"], ["docs/d00/f01"], ["docs/d00/f02"]]


def test_c11_a_file_that_just_fits_fills_one_tar(tmp_path: Path, depot: Depot) -> None:
    (tmp_path / "one").write_bytes(b"x" * (SMALL - 512 - 1024))
    parts = tars(depot, collected(tmp_path / "one", depot, tar_max_bytes=SMALL).descriptor)
    assert [len(part) for part in parts] == [SMALL]


def test_c11_one_more_file_leaves_most_tars_as_they_were(tmp_path: Path, depot: Depot) -> None:
    make_large(tmp_path / "big", 60, 10, 1000)
    before = set(tars(depot, collected(tmp_path / "big", depot, tar_max_bytes=SMALL).descriptor))
    (tmp_path / "big" / "d02" / "new").write_bytes(b"n" * 5000)
    after = set(tars(depot, collected(tmp_path / "big", depot, tar_max_bytes=SMALL).descriptor))
    assert len(before) > 10
    assert len(after - before) <= 3


def test_c09_a_manifest_above_its_limit_becomes_an_index_of_manifests(tmp_path: Path, depot: Depot) -> None:
    make_large(tmp_path / "big", 60, 10, 1000)
    whole = collected(tmp_path / "big", depot, tar_max_bytes=SMALL)
    split = collected(tmp_path / "big", depot, tar_max_bytes=SMALL, manifest_max_bytes=1500)
    assert split.descriptor.media_type == OCI_INDEX
    assert tars(depot, split.descriptor) == tars(depot, whole.descriptor)
    index = json.loads(depot.read_blob(split.descriptor.digest, max_bytes=10**6))
    one = json.loads(depot.read_blob(whole.descriptor.digest, max_bytes=10**6))
    assert index["artifactType"] == FILES_TYPE
    assert index["annotations"] == one["annotations"]
    children = [json.loads(depot.read_blob(child["digest"], max_bytes=1500)) for child in index["manifests"]]
    assert [layer for child in children for layer in child["layers"]] == one["layers"]
    assert all(child["annotations"] == {"org.opencontainers.image.title": "docs"} for child in children)


def test_c09_a_child_takes_as_many_layers_as_just_fit(tmp_path: Path, depot: Depot) -> None:
    make_large(tmp_path / "big", 60, 10, 1000)
    whole = collected(tmp_path / "big", depot, tar_max_bytes=SMALL)
    layers = [blob for blob in walk(depot, whole.descriptor) if blob.media_type == OCI_LAYER_TAR]
    config = walk(depot, whole.descriptor)[1]
    exact = len(files_module._manifest_bytes("docs", config, layers[:4], {}))
    parts = list(files_module._split("docs", config, layers, exact))
    assert [len(part) for part in parts[:-1]] == [4] * (len(parts) - 1)
    assert len(next(files_module._split("docs", config, layers, exact - 1))) == 3


@pytest.mark.parametrize("change", ["grow", "shrink", "rewrite", "replace", "remove"])
def test_a_file_that_changes_while_the_tree_is_read_is_named(
    folder: Path, depot: Depot, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    victim = folder / "a" / "one"
    real = Tree.tars

    def tars_then_change(self: Tree, **options: Any) -> Any:
        plans = list(real(self, **options))
        if change == "grow":
            victim.write_bytes(b"1" * 1001)
        elif change == "shrink":
            victim.write_bytes(b"")
        elif change == "rewrite":
            victim.write_bytes(b"3" * 1000)
            os.utime(victim, ns=(0, 1))
        elif change == "replace":
            status = victim.stat()
            (folder / "new").write_bytes(b"1" * 1000)
            os.utime(folder / "new", ns=(0, status.st_mtime_ns))
            (folder / "new").rename(victim)
        else:
            victim.unlink()
        yield from plans

    monkeypatch.setattr(Tree, "tars", tars_then_change)
    with pytest.raises(SourceChangedError, match="a/one"):
        collected(folder, depot)
    assert list(depot.digests()) == []


def test_a_file_that_shrinks_under_the_reader_is_named(
    folder: Path, depot: Depot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files_module, "_read", lambda fd, space, path: 0)
    with pytest.raises(SourceChangedError, match="became shorter"):
        collected(folder, depot)


def test_a_file_that_cannot_be_read_is_named(folder: Path, depot: Depot, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def refuse(path: Any, *rest: Any, **more: Any) -> int:
        if os.fsencode(path).endswith(b"/z.txt"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return real(path, *rest, **more)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(CollectError, match=r"z\.txt: Permission denied") as caught:
        collected(folder, depot)
    assert caught.value.hint


def test_a_link_put_in_a_files_place_is_not_followed(
    folder: Path, depot: Depot, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Tree.tars

    def swap(self: Tree, **options: Any) -> Any:
        plans = list(real(self, **options))
        (folder / "z.txt").unlink()
        (folder / "z.txt").symlink_to("a/one")
        yield from plans

    monkeypatch.setattr(Tree, "tars", swap)
    with pytest.raises(CollectError, match=r"z\.txt"):
        collected(folder, depot)


def test_progress_adds_up_to_the_bytes_of_the_tars(folder: Path, depot: Depot) -> None:
    counts: list[int] = []
    result = collected(folder, depot, progress=counts.append)
    assert sum(counts) == sum(map(len, tars(depot, result.descriptor)))


def test_many_tars_keep_their_order(tmp_path: Path, depot: Depot) -> None:
    make_large(tmp_path / "big", 40, 20, 1000)
    plans = list(Tree(os.fsencode(tmp_path / "big"), b"docs").tars(max_bytes=SMALL))
    found = list(members(depot, collected(tmp_path / "big", depot, tar_max_bytes=SMALL).descriptor))
    assert found == [member.path.decode().rstrip("/") for plan in plans for member in plan.members]


@pytest.mark.parametrize(("path", "title"), [("docs", "docs"), ("./docs/", "docs"), ("a/../docs", "docs")])
def test_a_title_is_the_base_name(path: str, title: str) -> None:
    assert title_of(Path(path)) == title


def test_the_title_of_the_folder_one_stands_in_is_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here" / "sub").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here" / "sub")
    assert title_of(Path()) == "sub"
    assert title_of(Path("..")) == "here"


def test_the_root_of_the_file_system_has_no_title() -> None:
    with pytest.raises(UsageError, match="transfer list"):
        title_of(Path("/"))
