"""Build the body of a bundle once more from its sources, and compare one digest: the bundle_id.

    manifest of the bundle ─► draft ─┐
    list and lock, or the depot ─► content ─► body ─► manifest ─► bundle_id = the bundle's?

No key and no state is needed, so that a second person can do it who trusts neither the first one nor that host. From
the bundle's own manifest comes what only its maker could know: time, number, the bundle before, audience, expiry, and
what the high side was known to have. Content comes from the sources alone. Reasons: docs/decisions/0011.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from tidegate.bundle.chunks import compressor
from tidegate.bundle.container import BundleFile
from tidegate.bundle.manifest import Compressor, Manifest, build_manifest, bundle_id
from tidegate.bundle.tables import Records, Tables
from tidegate.depot.descriptors import Descriptor
from tidegate.depot.store import Depot
from tidegate.oci import LOAD
from tidegate.provenance.expectation import EXPECT
from tidegate_sender.packing.base import Base, Piece
from tidegate_sender.packing.body import NoSink, ProgressCallback, build_body
from tidegate_sender.packing.content import Content, Wanted, gather


class Verdict(StrEnum):
    """How what was built compares with the bundle."""

    SAME = "same"  # every byte that the bundle_id names
    SAME_CONTENT = "same-content"  # another compressor: every artifact and blob, in other frames
    DIFFERENT = "different"


@dataclass(frozen=True, slots=True)
class Reproduction:
    """One comparison. `differences` are sentences, first the artifacts; empty where the verdict is SAME."""

    verdict: Verdict
    name: str
    bundle_id: str
    built_id: str
    compressor: Compressor
    own_compressor: Compressor
    artifact_count: int
    blob_count: int
    content_size: int
    differences: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Listed:
    """An artifact as the bundle's own manifest lists it, to be looked for in a depot."""

    name: str
    kind: str
    descriptor: Descriptor
    ticket: str = ""
    justification: str = ""
    load: tuple[str, ...] = ()
    expect: str = ""


def listed_artifacts(manifest: Manifest) -> tuple[Listed, ...]:
    """What a manifest lists, as things that a depot is asked for."""
    return tuple(
        Listed(
            item.name,
            item.kind,
            Descriptor(item.media_type, item.digest, item.size, item.annotations or {}),
            item.ticket or "",
            item.justification or "",
            tuple((item.annotations or {}).get(LOAD, "").split(",")) if (item.annotations or {}).get(LOAD) else (),
            (item.annotations or {}).get(EXPECT, ""),
        )
        for item in manifest.artifacts
    )


def reproduce(
    path: Path,
    depot: Depot,
    wanted: Iterable[Wanted] | None = None,
    progress: ProgressCallback = lambda _done, _total: None,
) -> Reproduction:
    """Build the bundle at `path` from `wanted`, whose blobs are in `depot`; by default from what its manifest lists.

    Raises FormatError and DigestError for a file that is no whole bundle, BlobMissingError, BlobDamagedError,
    GraphError, NameTakenError.
    """
    with BundleFile.open(path) as bundle:
        theirs, tables = bundle.manifest(), bundle.tables()
        name = bundle.bundle_id
    content = gather(depot, listed_artifacts(theirs) if wanted is None else wanted)
    ours = _build(theirs, tables.required, content, depot, progress)
    built = bundle_id(build_manifest(ours))
    differences = () if built == name else tuple(_differences(theirs, ours, is_same_tool=_is_same_tool(theirs)))
    return Reproduction(
        verdict=_verdict(theirs, ours, is_same=built == name),
        name=theirs.name,
        bundle_id=name,
        built_id=built,
        compressor=theirs.compressor,
        own_compressor=compressor(),
        artifact_count=len(ours.artifacts),
        blob_count=ours.tables.blobs.count,
        content_size=ours.content_size,
        differences=differences,
    )


def _build(theirs: Manifest, required: Records, content: Content, depot: Depot, progress: ProgressCallback) -> Manifest:
    """The manifest over what the sources give, with every other field as the bundle has it."""
    # What the bundle itself says that it builds on.
    selection = Base.of([Piece(required, "")]).split(content.blobs.values())
    draft = replace(
        theirs, artifacts=content.artifacts, chunks_length=0, content_size=0, tables=Tables.empty().entries()
    )
    manifest, _tables = build_body(draft, selection.brought, selection.required, depot, NoSink(), progress)
    return manifest


def _is_same_tool(theirs: Manifest) -> bool:
    return theirs.compressor == compressor()


def _verdict(theirs: Manifest, ours: Manifest, *, is_same: bool) -> Verdict:
    if is_same:
        return Verdict.SAME
    if not _is_same_tool(theirs) and _content_facts(theirs) == _content_facts(ours):
        return Verdict.SAME_CONTENT
    return Verdict.DIFFERENT


def _content_facts(manifest: Manifest) -> tuple[object, ...]:
    """Everything but the compressed frames. The table of blobs names every blob, its size and its place."""
    tables = manifest.tables
    return (manifest.artifacts, manifest.content_size, tables.blobs, tables.segments, tables.required)


def _differences(theirs: Manifest, ours: Manifest, *, is_same_tool: bool) -> Iterator[str]:
    """Where the two manifests differ, from what a person asked for down to bytes."""
    old, new = ({item.name: item for item in manifest.artifacts} for manifest in (theirs, ours))
    for name in sorted(old.keys() | new.keys()):
        if name not in new:
            yield f"{name}: is in the bundle, and the sources do not ask for it"
        elif name not in old:
            yield f"{name}: is asked for, and the bundle does not have it"
        elif old[name].digest != new[name].digest:
            yield f"{name}: the bundle has {old[name].digest}, the sources give {new[name].digest}"
        elif old[name] != new[name]:
            yield f"{name}: ticket, justification, kind or platforms are not those in the bundle"
    for word in ("blobs", "segments", "required"):
        before, after = getattr(theirs.tables, word), getattr(ours.tables, word)
        if before != after:
            yield f"table {word}: {before.count} records in the bundle, {after.count} built, and their digests differ"
    if theirs.tables.chunks != ours.tables.chunks and is_same_tool:
        yield "table chunks: the frames differ though the compressor is the same"
