"""Bundles that lie in quarantine as if they had been received, for the tests of loading."""

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import numpy as np
from made_bundles import manifest_for
from receiver_world import LowSide

from tidegate.bundle.cover import build_cover, signatures_piece
from tidegate.bundle.manifest import Artifact, Manifest, build_manifest
from tidegate.bundle.papers import COVER_FILE, MANIFEST_FILE, TABLES_FILE
from tidegate.bundle.tables import BLOB, CHUNK, REQUIRED, SEGMENT, Tables, as_bytes
from tidegate.canonical import to_builtins
from tidegate.config import Role
from tidegate.depot.descriptors import Descriptor
from tidegate.depot.graph import walk
from tidegate.depot.store import Depot
from tidegate.initialisation import initialise
from tidegate.names import hex_of
from tidegate.state.bundles import BundleRow, BundleState, put_bundle
from tidegate.state.channels import ensure_channel
from tidegate.trust.envelope import MANIFEST_TYPE, sign_detached
from tidegate.workspace import Workspace

#: the id of the channel ``plant``; its keys are the same in every run
CHANNEL = LowSide("plant").chain.channel_id
_MIB = 1 << 20


def high_side(folder: Path) -> Workspace:
    """An initialised high side."""
    initialise(folder, Role.HIGH, sites=("plant-7",), holder="ann", passphrase=None)
    return Workspace.open(folder)


def quarantine(
    workspace: Workspace,
    source: Depot,
    artifacts: Mapping[str, Descriptor],
    *,
    sequence: int = 1,
    left_out: Mapping[str, int] | None = None,
    channel_name: str = "plant",
    expires: str | None = None,
) -> str:
    """Put a bundle of `artifacts` (by name, graphs in `source`) into quarantine, of a channel that is pinned.

    Gives its bundle_id.

    `left_out` are digests that the bundle builds on, with the number of the bundle that carried them.
    """
    left_out = left_out or {}
    low = LowSide(channel_name)
    channel = low.chain.channel_id
    if workspace.trust.get(channel) is None:
        workspace.trust.pin(low.chain, workspace.signer("root"))
    blobs = {blob.digest: blob for root in artifacts.values() for blob in walk(source, root)}
    brought = sorted((hex_of(digest), blob.size) for digest, blob in blobs.items() if digest not in left_out)
    required = sorted((hex_of(d), blobs[d].size, number) for d, number in left_out.items() if d in blobs)
    tables = _tables(brought, required)
    manifest = manifest_for(
        tables,
        channel=channel,
        channel_name=channel_name,
        sequence=sequence,
        created="2026-01-01T00:00:00Z",
        artifacts=tuple(_artifact(name, artifacts[name]) for name in sorted(artifacts, key=str.encode)),
        expires=expires,
    )
    data = build_manifest(manifest)
    bundle_id = sha256(data).hexdigest()
    folder = workspace.folder("quarantine") / bundle_id
    layout = Depot(folder)
    with layout.commit() as commit:
        for digest, _ in brought:
            commit.adopt(source.blob_path(f"sha256:{digest}"), f"sha256:{digest}", share=False)
    (folder / "bundle").mkdir()
    (folder / "bundle" / MANIFEST_FILE).write_bytes(data)
    envelope = sign_detached(data, MANIFEST_TYPE, [low.keys["release"]])
    (folder / "bundle" / COVER_FILE).write_bytes(build_cover([signatures_piece(envelope)]))
    (folder / "bundle" / TABLES_FILE).write_bytes(b"".join(bytes(as_bytes(table)) for table in tables.all()))
    with workspace.state.transaction() as tx:
        ensure_channel(tx, channel, channel_name, 1)
        put_bundle(tx, _row(bundle_id, manifest, folder))
    return bundle_id


def _artifact(name: str, root: Descriptor) -> Artifact:
    kind = "files" if name.startswith("files/") else "image"
    return Artifact(name, kind, root.media_type, root.digest, root.size, annotations=dict(root.annotations) or None)


def _row(bundle_id: str, manifest: Manifest, folder: Path) -> BundleRow:
    return BundleRow(
        bundle_id,
        manifest.channel,
        manifest.sequence,
        "high",
        BundleState.QUARANTINED,
        created=0,
        size=manifest.chunks_length,
        content_size=manifest.content_size,
        path=str(folder),
        artifacts=tuple(to_builtins(manifest.artifacts)),
    )


def _tables(brought: list[tuple[str, int]], required: list[tuple[str, int, int]]) -> Tables:
    """Each blob in chunks of its own, stored; the digests of the chunks are not looked at when loading."""
    blobs, segments, chunks = np.zeros(len(brought), BLOB), [], []
    position = 0
    for number, (digest, size) in enumerate(brought):
        pieces = [min(4 * _MIB, size - at) for at in range(0, size, 4 * _MIB)]
        blobs[number] = (bytes.fromhex(digest), size, len(segments), len(pieces))
        for length in pieces:
            segments.append((1, 0, len(chunks), 0, length))
            chunks.append((position, length, length, 0, bytes(7), bytes(32)))
            position += length
    needed = np.array([(bytes.fromhex(d), size, number) for d, size, number in required], REQUIRED)
    return Tables(blobs, np.array(segments, SEGMENT), np.array(chunks, CHUNK), needed)
