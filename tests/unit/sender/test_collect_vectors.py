"""The content vectors, made from docs/format/content.md without our code (tests/vectors/content/make.py)."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tidegate.depot.descriptors import Descriptor
from tidegate.depot.graph import walk
from tidegate.depot.store import Depot
from tidegate.errors import GraphError, UsageError
from tidegate.oci import OCI_LAYER_TAR
from tidegate.registry.reference import files_name, parse_reference, place_of
from tidegate_sender.collect.files import collect_files

VECTORS = Path(__file__).parents[2] / "vectors" / "content"


def build(top: bytes, entries: list[dict[str, Any]]) -> None:
    """Write the tree of a vector; times last, since writing into a folder changes its own."""
    for entry in entries:
        path = top + (b"/" + bytes.fromhex(entry["path"]) if entry["path"] else b"")
        if entry["type"] == "folder":
            os.mkdir(path)  # noqa: PTH102
        elif entry["type"] == "link":
            os.symlink(bytes.fromhex(entry["target"]), path)  # noqa: PTH211
        else:
            with open(path, "wb") as file:
                file.write(bytes.fromhex(entry.get("content", "")))
                file.truncate(entry["size"])
    for entry in reversed(entries):
        path = top + (b"/" + bytes.fromhex(entry["path"]) if entry["path"] else b"")
        if entry["type"] != "link":
            os.chmod(path, int(entry["mode"], 8))  # noqa: PTH101
        os.utime(path, ns=(0, entry["mtime"] * 10**9 + 999), follow_symlinks=False)


@pytest.mark.parametrize("path", sorted(VECTORS.glob("tree_*.json")), ids=lambda path: path.stem)
def test_a_tree_becomes_the_bytes_of_its_vector(path: Path, tmp_path: Path) -> None:
    vector = json.loads(path.read_text())
    build(os.fsencode(tmp_path / "tree"), vector["entries"])
    depot = Depot(tmp_path / "depot")
    with depot.commit() as commit:
        result = collect_files(tmp_path / "tree", vector["title"], commit)
    assert depot.read_blob(result.descriptor.digest, max_bytes=10**6).decode() == vector["manifest"]
    assert result.descriptor.digest == vector["digest"]
    tar = path.with_suffix(".tar")
    if tar.exists():
        layer = next(blob for blob in walk(depot, result.descriptor) if blob.media_type == OCI_LAYER_TAR)
        assert depot.read_blob(layer.digest, max_bytes=10**6) == tar.read_bytes()


class Blobs:
    def __init__(self, blobs: dict[str, str]) -> None:
        self.blobs = blobs

    def read_blob(self, digest: str, *, max_bytes: int) -> bytes:
        return self.blobs[digest].encode()


@pytest.mark.parametrize("path", sorted(VECTORS.glob("graph_*.json")), ids=lambda path: path.stem)
def test_a_graph_is_walked_or_refused_as_its_vector_says(path: Path) -> None:
    vector = json.loads(path.read_text())
    plain = vector["root"]
    root = Descriptor(plain["mediaType"], plain["digest"], plain["size"], annotations=plain.get("annotations", {}))
    if vector["answer"] == "GraphError":
        with pytest.raises(GraphError):
            walk(Blobs(vector["blobs"]), root)
    else:
        assert [blob.digest for blob in walk(Blobs(vector["blobs"]), root)] == vector["answer"]


def test_names_and_places_are_those_of_the_vectors() -> None:
    vectors = json.loads((VECTORS / "names.json").read_text())
    for texts, name_of in (
        (vectors["references"], lambda text: parse_reference(text).name),
        (vectors["titles"], files_name),
    ):
        for text, expected in texts.items():
            if expected is None:
                with pytest.raises(UsageError):
                    name_of(text)
            else:
                name = name_of(text)
                assert [name, place_of(name)] == expected
