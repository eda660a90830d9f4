"""Load artifacts into a folder: trees of files unpacked, everything else into an OCI layout beside them.

``DIR/docs/…`` for the artifact `files/docs`, ``DIR/charts/…`` for packaged charts, ``DIR/images/`` for images, so that
nothing of a bundle is left out. All tars are read through and checked before the first file is written. Form of a files
artifact: docs/format/content.md.
"""

import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

from tidegate.charts.artifact import CHARTS_FOLDER, chart_blobs
from tidegate.charts.metadata import METADATA_MAX_BYTES, parse_metadata
from tidegate.depot.descriptors import MANIFEST_MAX_BYTES, Descriptor, Manifest, parse_manifest
from tidegate.depot.graph import walk
from tidegate.depot.store import Depot
from tidegate.errors import BlobMissingError, FormatError, NameTakenError, UnsafePathError, UsageError
from tidegate.oci import FILES_TYPE, OCI_LAYER_TAR, TITLE
from tidegate.registry.reference import check_title, split_place
from tidegate.tars import Member, MemberKind, read_members, stays_inside
from tidegate.text import printable
from tidegate_receiver.loaders.items import BlobSource, LoadedItem, LoadItem
from tidegate_receiver.loaders.tree import WORK_FOLDER, Placed, Tree

IMAGES_FOLDER = "images"
#: of one artifact: their paths are kept, some 70 bytes each, to find those that are there twice
MEMBERS_MAX = 2**23
_LINKS_NAMED = 10  # left-out links that a note names; the rest is counted
_LAYOUT_PARTS = ("", "blobs", "blobs/sha256", ".incoming", ".lock", "index.json", "oci-layout")


@dataclass(frozen=True, slots=True)
class FilesArtifact:
    """A files artifact as its manifests describe it: the title, and the tars in order."""

    title: str
    tars: tuple[Descriptor, ...]


@dataclass(frozen=True, slots=True)
class ChartFile:
    """A chart as files below the target: its folder, its file's name, and the blobs."""

    folder: tuple[str, ...]
    name: str
    content: Descriptor
    provenance: Descriptor | None


class DirectoryLoader:
    """Unpacks from `source` below `folder`, which is made where it is missing; use it in a `with` block."""

    def __init__(self, source: BlobSource, folder: Path) -> None:
        self.target = str(folder)
        self._source = source
        self._folder = folder
        self._tree = Tree(folder)
        self._layout: Depot | None = None

    def __enter__(self) -> Self:
        self._tree.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._tree.__exit__()

    def check(self, items: tuple[LoadItem, ...]) -> None:
        """Read every tar through. Raises NameTakenError, UnsafePathError, FormatError, BlobMissingError, GraphError."""
        check_items(self._source, self._folder, items)

    def load(self, item: LoadItem) -> LoadedItem:
        """Put one artifact there and sync it."""
        chart = read_chart_artifact(self._source, item)
        artifact = read_files_artifact(self._source, item) if chart is None else None
        if chart is not None:
            loaded = self._put_chart(item, chart)
        else:
            loaded = self._load_image(item) if artifact is None else self._unpack(item, artifact)
        if loaded.changed:
            self._tree.sync()
        return loaded

    def _unpack(self, item: LoadItem, artifact: FilesArtifact) -> LoadedItem:
        size, changed, left_out = 0, False, []
        for member, file in _members(self._source, item, artifact):
            if member.kind is MemberKind.LINK and not stays_inside(member.path, member.target):
                left_out.append(f"{member.name} -> {member.target}")
                continue
            placed = self._place(member, file)
            changed = changed or placed is not Placed.SAME
            size += member.size if placed is not Placed.SAME else 0
        place = str(self._folder / artifact.title)
        return LoadedItem(item.name, place, item.root.digest, changed, size, _links_note(item, left_out))

    def _put_chart(self, item: LoadItem, chart: ChartFile) -> LoadedItem:
        """The packaged chart as a file, its provenance beside it: `helm install DIR/charts/…/app-1.2.3.tgz`."""
        placed = [self._put_blob((*chart.folder, chart.name), chart.content)]
        if chart.provenance is not None:
            placed.append(self._put_blob((*chart.folder, f"{chart.name}.prov"), chart.provenance))
        changed = any(one is not Placed.SAME for one in placed)
        place = str(self._folder.joinpath(*chart.folder, chart.name))
        return LoadedItem(item.name, place, item.root.digest, changed, chart.content.size if changed else 0)

    def _put_blob(self, path: tuple[str, ...], blob: Descriptor) -> Placed:
        with closing(self._source.open_blob(blob.digest)) as file:
            return self._tree.place_file(path, file.fileno(), 0, blob.size, 0o644, 0)

    def _place(self, member: Member, file: BinaryIO) -> Placed:
        if member.kind is MemberKind.FOLDER:
            return self._tree.place_folder(member.path, member.mode)
        if member.kind is MemberKind.LINK:
            return self._tree.place_link(member.path, member.target)
        return self._tree.place_file(member.path, file.fileno(), member.offset, member.size, member.mode, member.mtime)

    def _load_image(self, item: LoadItem) -> LoadedItem:
        if self._layout is None:
            self._layout = Depot(self._folder / IMAGES_FOLDER)
            self._layout.remove_abandoned()
        place = f"{self._layout.folder}:{item.place}"
        blobs = walk(self._source, item.root)
        missing = self._layout.missing(blobs)
        if not missing and self._layout.reference(item.place) == item.root:
            return LoadedItem(item.name, place, item.root.digest, changed=False)
        with self._layout.commit() as commit:
            for blob in missing:
                # Copies, not links: this folder belongs to others, who may change what lies in it.
                commit.adopt(self._source.blob_path(blob.digest), blob.digest, share=False)
            commit.reference(item.place, item.root)
        return LoadedItem(item.name, place, item.root.digest, True, sum(blob.size for blob in missing))


def check_items(source: BlobSource, folder: Path, items: tuple[LoadItem, ...]) -> None:
    """Whether all `items` may be loaded below `folder`; changes nothing, and the folder need not exist."""
    titles: dict[str, str] = {}
    image = ""
    for item in items:
        chart = read_chart_artifact(source, item)
        if chart is not None:
            _check_image(source, item)
            _claim(titles, chart.folder[0], CHARTS_FOLDER, folder)
            continue
        artifact = read_files_artifact(source, item)
        if artifact is None:
            _check_image(source, item)
            image = image or item.name
            continue
        _claim(titles, artifact.title, item.name, folder)
        _check_tree(source, item, artifact)
    _check_images_folder(folder / IMAGES_FOLDER, image, titles.get(IMAGES_FOLDER, ""))


def _claim(titles: dict[str, str], title: str, name: str, folder: Path) -> None:
    """`title` below the folder belongs to `name`. Raises NameTakenError where it is another's."""
    other = titles.setdefault(title, name)
    if other != name:
        raise NameTakenError(f"{folder / title}: both {other} and {name} go there")


def read_chart_artifact(source: BlobSource, item: LoadItem) -> ChartFile | None:
    """The artifact as a packaged chart, or None where it is none. Raises FormatError for a wrong one."""
    if item.root.is_index:
        return None
    data = source.read_blob(item.root.digest, max_bytes=MANIFEST_MAX_BYTES)
    blobs = chart_blobs(parse_manifest(data, item.root.media_type, what=item.name))
    if blobs is None:
        return None
    config = source.read_blob(blobs.config.digest, max_bytes=METADATA_MAX_BYTES)
    metadata = parse_metadata(config, f"{item.name}: config")
    folder = tuple(split_place(item.place)[0].split("/")[:-1])
    if folder[:1] != (CHARTS_FOLDER,):
        folder = (CHARTS_FOLDER, *folder)
    return ChartFile(folder, metadata.file_name, blobs.content, blobs.provenance)


def _check_image(source: BlobSource, item: LoadItem) -> None:
    missing = source.missing(walk(source, item.root))
    if missing:
        raise BlobMissingError(f"{item.name}: its blob {missing[0].digest} is missing, or has another size")


def _check_images_folder(images: Path, image: str, tree: str) -> None:
    """`images` is a layout or a tree of files, never both; and no link stands in a layout. Names or empty."""
    elsewhere = "load into another folder"
    is_layout = (images / "oci-layout").is_file()
    if tree and image:
        raise NameTakenError(f"{images}: both {tree} and the image {image} go there", hint=elsewhere)
    if tree and is_layout:
        raise NameTakenError(f"{images}: {tree} would go there, and it holds images", hint=elsewhere)
    if not image:
        return
    for part in _LAYOUT_PARTS:
        if (images / part).is_symlink():
            raise UnsafePathError(f"{images / part}: a link where images are to go", hint="remove it")
    if images.exists() and not is_layout and any(images.iterdir()):
        raise NameTakenError(f"{images}: {image} would go there, and it holds other files", hint=elsewhere)


def read_files_artifact(source: BlobSource, item: LoadItem) -> FilesArtifact | None:
    """The artifact as title and tars, or None where it is no files artifact. Raises FormatError for a wrong one."""
    roots: list[Manifest] = []
    tars: list[Descriptor] = []

    def visit(_: Descriptor, manifest: Manifest, data: bytes) -> None:
        del data
        roots.append(manifest)
        tars.extend(manifest.layers)

    walk(source, item.root, visit=visit)
    if roots[0].artifact_type != FILES_TYPE:
        return None
    title = roots[0].annotations.get(TITLE, "")
    try:
        check_title(title)
    except UsageError as error:
        raise UnsafePathError(f"{item.name}: title: {error.message}") from None
    if title == WORK_FOLDER:
        raise UnsafePathError(f"{item.name}: title: {title!r} is a name of our own")
    strange = next((tar.media_type for tar in tars if tar.media_type != OCI_LAYER_TAR), None)
    if strange is not None:
        raise FormatError(f"{item.name}: a layer of type {strange!r}, expected {OCI_LAYER_TAR!r}")
    return FilesArtifact(title, tuple(tars))


def _members(source: BlobSource, item: LoadItem, artifact: FilesArtifact) -> Iterator[tuple[Member, BinaryIO]]:
    """Every member of every tar, with the open tar; C-10 is checked here."""
    for tar in artifact.tars:
        with closing(source.open_blob(tar.digest)) as file:
            length = os.fstat(file.fileno()).st_size
            if length != tar.size:
                raise BlobMissingError(f"{item.name}: blob {tar.digest} has {length} bytes, not {tar.size}")
            for member in read_members(file, length, item.name):
                if member.path[0] != artifact.title:
                    raise UnsafePathError(f"{item.name}: {member.name}: not below {artifact.title!r} (C-10)")
                yield member, file


def _check_tree(source: BlobSource, item: LoadItem, artifact: FilesArtifact) -> None:
    """No path twice, and nothing below a file or link. Paths are kept as hashes (keyed, 64 bits) to spare memory."""
    leaves: set[int] = set()
    folders: set[int] = set()
    for number, (member, _) in enumerate(_members(source, item, artifact)):
        if number >= MEMBERS_MAX:
            raise FormatError(f"{item.name}: more than {MEMBERS_MAX} members")
        own = hash(member.path)
        above = [hash(member.path[:depth]) for depth in range(1, len(member.path))]
        is_folder = member.kind is MemberKind.FOLDER
        if own in leaves or (own in folders and not is_folder):
            raise UnsafePathError(f"{item.name}: {member.name}: there twice")
        if not leaves.isdisjoint(above):
            raise UnsafePathError(f"{item.name}: {member.name}: below a file or link of the same tree")
        folders.update(above)
        (folders if is_folder else leaves).add(own)


def _links_note(item: LoadItem, left_out: list[str]) -> tuple[str, ...]:
    if not left_out:
        return ()
    named = ", ".join(map(printable, left_out[:_LINKS_NAMED])) + (" …" if len(left_out) > _LINKS_NAMED else "")
    count = "1 link that leads" if len(left_out) == 1 else f"{len(left_out)} links that lead"
    return (f"{item.name}: {count} outside of the folder left out: {named}",)
