"""A folder as target: trees unpacked, images beside them, hostile trees refused before the first file."""

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from content import add_files, add_image, tar_of

from tidegate.depot.descriptors import Descriptor
from tidegate.depot.store import Depot
from tidegate.errors import BlobMissingError, FormatError, GraphError, NameTakenError, UnsafePathError
from tidegate_receiver.loaders.directory import DirectoryLoader
from tidegate_receiver.loaders.items import LoadedItem, LoadItem

README = tar_of({"docs/readme": b"read me", "docs/sub/deep": b"deep"})


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Path]:
    """Beside the target stands a file that nothing may touch."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "keep").write_bytes(b"mine")
    yield tmp_path / "target"
    assert [path.name for path in outside.iterdir()] == ["keep"]
    assert (outside / "keep").read_bytes() == b"mine"


def files_item(root: Descriptor, name: str = "files/docs") -> LoadItem:
    return LoadItem(name, "files", f"{name}:latest", root)


def image_item(root: Descriptor, place: str = "app:1") -> LoadItem:
    return LoadItem(f"localhost:5000/{place}", "image", place, root)


def load(depot: Depot, target: Path, *items: LoadItem) -> list[LoadedItem]:
    with DirectoryLoader(depot, target) as loader:
        loader.check(items)
        return [loader.load(item) for item in items]


def special_tar(name: str, **fields: object) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo(name)
        for key, value in fields.items():
            setattr(info, key, value)
        tar.addfile(info)
    return out.getvalue()


def test_load_unpacks_a_tree_of_several_tars(depot: Depot, target: Path) -> None:
    item = files_item(add_files(depot, "docs", [README, tar_of({"docs/more": b"more"})]))
    (loaded,) = load(depot, target, item)
    assert loaded.changed
    assert loaded.place == str(target / "docs")
    found = {str(path.relative_to(target)): path.read_bytes() for path in target.rglob("*") if path.is_file()}
    assert found == {"docs/readme": b"read me", "docs/sub/deep": b"deep", "docs/more": b"more"}


def test_load_twice_changes_nothing(depot: Depot, target: Path) -> None:
    items = files_item(add_files(depot, "docs", [README])), image_item(add_image(depot, [b"layer"]))
    assert [item.changed for item in load(depot, target, *items)] == [True, True]
    before = {path: path.lstat().st_ino for path in target.rglob("*") if path.is_file()}
    assert [item.changed for item in load(depot, target, *items)] == [False, False]
    assert {path: path.lstat().st_ino for path in target.rglob("*") if path.is_file()} == before


def test_load_replaces_only_the_file_that_differs_and_deletes_nothing(depot: Depot, target: Path) -> None:
    load(depot, target, files_item(add_files(depot, "docs", [README])))
    (target / "docs/own").write_bytes(b"kept")
    (target / "docs/readme").write_bytes(b"changed")
    deep = (target / "docs/sub/deep").stat().st_ino
    (loaded,) = load(depot, target, files_item(add_files(depot, "docs", [README])))
    assert (loaded.changed, loaded.size_bytes) == (True, len(b"read me"))
    assert (target / "docs/readme").read_bytes() == b"read me"
    assert (target / "docs/sub/deep").stat().st_ino == deep
    assert (target / "docs/own").read_bytes() == b"kept"


def test_load_unpacks_a_single_file(depot: Depot, target: Path) -> None:
    load(depot, target, files_item(add_files(depot, "tool.bin", [tar_of({"tool.bin": b"\x7fELF"})]), "files/tool.bin"))
    assert (target / "tool.bin").read_bytes() == b"\x7fELF"


def test_load_writes_images_into_a_layout_of_copies(depot: Depot, target: Path) -> None:
    root = add_image(depot, [b"layer"])
    load(depot, target, image_item(root))
    layout = Depot(target / "images", create=False)
    assert layout.references() == {"app:1": root}
    assert layout.check_blob(root.digest) == root.size
    assert layout.blob_path(root.digest).stat().st_ino != depot.blob_path(root.digest).stat().st_ino


def test_load_leaves_out_links_that_lead_outside_and_says_so(depot: Depot, target: Path, tmp_path: Path) -> None:
    evil = special_tar("docs/evil", type=tarfile.SYMTYPE, linkname=str(tmp_path / "outside/keep"))
    good = special_tar("docs/good", type=tarfile.SYMTYPE, linkname="readme")
    (loaded,) = load(depot, target, files_item(add_files(depot, "docs", [README, evil, good])))
    assert not os.path.lexists(target / "docs/evil")
    assert (target / "docs/good").read_bytes() == b"read me"
    assert "docs/evil -> " in loaded.notes[0]


def hostile_trees() -> dict[str, list[bytes]]:
    link = special_tar("docs/dir", type=tarfile.SYMTYPE, linkname="../../outside")
    return {
        "traversal": [README, tar_of({"docs/../../outside/keep": b"x"})],
        "absolute": [README, tar_of({"/docs/x": b"x"})],
        "another title": [README, tar_of({"etc/passwd": b"x"})],
        "below a link": [README, link, tar_of({"docs/dir/keep": b"x"})],
        "link over a folder": [README, special_tar("docs/sub", type=tarfile.SYMTYPE, linkname="../../outside")],
        "file twice": [README, tar_of({"docs/readme": b"other"})],
        "folder as file": [README, tar_of({"docs/sub": b"x"})],
        "below a file": [README, tar_of({"docs/readme/x": b"x"})],
        "hard link": [README, special_tar("docs/hard", type=tarfile.LNKTYPE, linkname="docs/readme")],
        "device": [README, special_tar("docs/null", type=tarfile.CHRTYPE, devmajor=1, devminor=3)],
        "title as link": [special_tar("docs", type=tarfile.SYMTYPE, linkname="../outside"), README],
    }


@pytest.mark.parametrize("name", hostile_trees())
def test_load_refuses_a_hostile_tree_before_the_first_file(depot: Depot, target: Path, name: str) -> None:
    item = files_item(add_files(depot, "docs", hostile_trees()[name]))
    with pytest.raises(UnsafePathError):
        load(depot, target, item)
    assert list(target.iterdir()) == []


@pytest.mark.parametrize("title", ["..", ".", "", "a/b", "/etc", "x\0", ".tidegate-new"])
def test_load_refuses_a_title_that_is_no_name(depot: Depot, target: Path, title: str) -> None:
    with pytest.raises(UnsafePathError):
        load(depot, target, files_item(add_files(depot, title, [README])))
    assert list(target.iterdir()) == []


def test_load_refuses_bytes_that_are_no_tar(depot: Depot, target: Path) -> None:
    with pytest.raises(FormatError):
        load(depot, target, files_item(add_files(depot, "docs", [README, b"\xff" * 1024])))
    assert list(target.iterdir()) == []


def test_load_refuses_two_trees_with_one_title(depot: Depot, target: Path) -> None:
    root = add_files(depot, "docs", [README])
    with pytest.raises(NameTakenError):
        load(depot, target, files_item(root), files_item(root, "files/other"))


def test_load_refuses_a_tree_called_images_beside_images(depot: Depot, target: Path) -> None:
    tree = files_item(add_files(depot, "images", [tar_of({"images/a.png": b""})]), "files/images")
    image = image_item(add_image(depot, [b"layer"]))
    with pytest.raises(NameTakenError):
        load(depot, target, tree, image)
    load(depot, target, tree)
    with pytest.raises(NameTakenError):
        load(depot, target, image)


def test_load_refuses_a_tree_called_images_over_a_layout(depot: Depot, target: Path) -> None:
    load(depot, target, image_item(add_image(depot, [b"layer"])))
    with pytest.raises(NameTakenError):
        load(depot, target, files_item(add_files(depot, "images", [tar_of({"images/a": b""})]), "files/images"))


def test_load_refuses_links_where_images_go(depot: Depot, target: Path, tmp_path: Path) -> None:
    target.mkdir()
    (target / "images").symlink_to(tmp_path / "outside")
    with pytest.raises(UnsafePathError):
        load(depot, target, image_item(add_image(depot, [b"layer"])))


def test_load_names_a_blob_that_is_missing(depot: Depot, target: Path) -> None:
    root = add_image(depot, [b"layer"])
    blob = max(depot.digests(), key=lambda digest: depot.size(digest) == len(b"layer"))
    depot.blob_path(blob).unlink()
    with pytest.raises((BlobMissingError, GraphError), match=blob):
        load(depot, target, image_item(root))


def test_load_goes_on_after_a_disk_error(depot: Depot, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    item = files_item(add_files(depot, "docs", [README]))
    real, calls = os.rename, []

    def failing(*arguments: object, **named: object) -> None:
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        real(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "rename", failing)
    with pytest.raises(KeyboardInterrupt):
        load(depot, target, item)
    monkeypatch.setattr(os, "rename", real)
    assert (target / "docs/readme").read_bytes() == b"read me"
    load(depot, target, item)
    assert (target / "docs/sub/deep").read_bytes() == b"deep"
    assert [path.name for path in target.iterdir()] == ["docs"]


def test_a_tree_of_too_many_members_is_refused_before_a_file_is_written(
    depot: Depot, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidegate_receiver.loaders.directory.MEMBERS_MAX", 2)
    item = files_item(add_files(depot, "docs", [README, tar_of({"docs/more": b""})]))
    with pytest.raises(FormatError, match="more than 2 members"):
        load(depot, target, item)
    assert not (target / "docs").exists()


def test_what_is_said_of_a_link_that_was_left_out_cannot_steer_a_terminal(depot: Depot, target: Path) -> None:
    tar = special_tar("docs/a\x1b[2J", type=tarfile.SYMTYPE, linkname="/etc/\x1b]0;x\x07")
    (loaded,) = load(depot, target, files_item(add_files(depot, "docs", [tar])))
    assert loaded.notes
    assert all(note.isprintable() for note in loaded.notes)
