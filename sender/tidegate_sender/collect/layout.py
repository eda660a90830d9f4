"""Bring an image, and what belongs to it, from an OCI layout folder into the depot.

Checked and copied, never linked: others may change it.
"""

from collections.abc import Callable
from pathlib import Path

from tidegate.depot.commit import BlobCommit
from tidegate.depot.descriptors import (
    MANIFEST_MAX_BYTES,
    Descriptor,
    Manifest,
    detect_media_type,
    parse_index_entries,
    parse_manifest,
)
from tidegate.depot.graph import walk
from tidegate.depot.layout import INDEX_MAX_BYTES
from tidegate.depot.store import Depot
from tidegate.errors import BlobMissingError, CollectError, UsageError
from tidegate.oci import REF_NAME
from tidegate.registry.reference import parse_reference, slug
from tidegate_sender.collect.images import ImageGraph, with_sboms
from tidegate_sender.collect.items import LayoutItem
from tidegate_sender.collect.kinds import Brought
from tidegate_sender.collect.layout_attachments import attachments_of, belongs_to_another
from tidegate_sender.collect.platforms import choose_root
from tidegate_sender.collect.registry import keeping_what_came
from tidegate_sender.collect.tree import source_error


def resolve_layout(item: LayoutItem) -> tuple[str, Descriptor, Depot]:
    """The artifact's name, its root, and the folder as a reader. Raises CollectError, UsageError, GraphError."""
    source = Depot(item.path, create=False)
    name, root, manifest = read_entry(item, source)
    chosen = choose_root(
        root, manifest, item.platforms, item.label, lambda blob, limit: source.read_blob(blob.digest, max_bytes=limit)
    )
    return name, chosen, source


def read_entry(item: LayoutItem, source: Depot) -> tuple[str, Descriptor, Manifest]:
    """The artifact's name, and its root before platforms are chosen: what is locked, else what the index says now."""
    entry = _entry(item, source)
    name = _name(item, entry.annotations.get(REF_NAME, ""))
    if item.locked and item.locked != entry.digest:
        # The name moved; what it stood for may still lie in the layout.
        data = source.read_blob(item.locked, max_bytes=MANIFEST_MAX_BYTES)
        root = Descriptor(detect_media_type(data), item.locked, len(data))
    else:
        data = source.read_blob(entry.digest, max_bytes=entry.size)
        root = Descriptor(entry.media_type, entry.digest, entry.size)
    return name, root, parse_manifest(data, root.media_type, what=item.label)


def look_at_layout(item: LayoutItem) -> tuple[str, ImageGraph, Depot]:
    """The artifact's name, its graph with what belongs to it, and the folder. Raises as `resolve_layout` does."""
    name, root, source = resolve_layout(item)
    manifests: list[str] = []

    def visit(descriptor: Descriptor, _manifest: Manifest, _data: bytes) -> None:
        manifests.append(descriptor.digest)

    blobs = walk(source, root, visit=visit)
    if not item.attachments:
        return name, ImageGraph(root, blobs, ()), source
    attached = attachments_of(_entries(item), source, _entry(item, source).digest, manifests, str(item.path))
    return name, ImageGraph(root, blobs, attached), source


def collect_layout(
    item: LayoutItem, commit: BlobCommit, *, progress: Callable[[int, int], object]
) -> tuple[tuple[Brought, ...], int]:
    """Copy the image and what belongs to it into `commit`; also how many bytes were new.

    Raises BlobMissingError and BlobDamagedError of the layout, ProvenanceError.
    """
    name, graph, source = look_at_layout(item)
    wanted = [blob for blob in graph.all_blobs if not commit.has(blob.digest, blob.size)]
    new_bytes = sum(blob.size for blob in wanted)
    with keeping_what_came(commit):
        for blob in wanted:
            if not source.has(blob.digest, blob.size):
                raise BlobMissingError(f"{item.label}: blob {blob.digest} of {blob.size} bytes is not there whole")
            commit.adopt(source.blob_path(blob.digest), blob.digest, share=False)
            progress(blob.size, new_bytes)
        return with_sboms(item, parse_reference(name), graph, commit), new_bytes


def _entries(item: LayoutItem) -> tuple[Descriptor, ...]:
    if not (item.path / "oci-layout").is_file():
        raise CollectError(f"{item.path} is no OCI layout: it has no file oci-layout")
    return parse_index_entries(_read_index(item.path / "index.json"), what=item.label, max_bytes=INDEX_MAX_BYTES)


def _entry(item: LayoutItem, source: Depot) -> Descriptor:
    entries = _entries(item)
    found = [entry for entry in entries if not item.tag or entry.annotations.get(REF_NAME) == item.tag]
    if len(found) > 1 and not item.tag:
        found = [entry for entry in found if not belongs_to_another(entry, source)]
    if len(found) == 1:
        return found[0]
    names = ", ".join(sorted(entry.annotations.get(REF_NAME, "(no name)") for entry in entries)[:20])
    if not found:
        raise CollectError(f"{item.path} has no {item.tag or 'image'!r}; there are {names or 'none'}")
    raise UsageError(f"{item.path} has {len(found)} images, name one: oci:{item.path}:NAME; there are {names}")


def _read_index(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(INDEX_MAX_BYTES + 1)
    except OSError as error:
        raise source_error(error, str(path).encode()) from None


def _name(item: LayoutItem, ref_name: str) -> str:
    """The artifact's name: as given, else the reference that the layout knows, else one made of the folder's name."""
    if item.name:
        return parse_reference(item.name).name
    if "/" in ref_name:
        return parse_reference(ref_name).name
    if ":" in ref_name:  # a whole name, as stages have them
        return parse_reference(f"localhost/{ref_name}").name
    short = slug(item.path.resolve().name)
    if not short:
        raise UsageError(f"{item.label}: give it a name in a transfer list")
    return parse_reference(f"localhost/{short}:{ref_name or 'latest'}").name
