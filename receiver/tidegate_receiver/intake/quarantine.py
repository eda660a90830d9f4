"""Quarantine: a verified bundle as an OCI layout, from which everything later is done without the medium.

    quarantine/<bundle_id>/
        oci-layout  index.json  blobs/sha256/…     the bundle's content; the index names its artifacts
        bundle/     manifest.json  tables  cover  announcement  channel.root

A bundle comes here by one rename, after everything in it was synced: it is there whole, or not at all.
"""

from pathlib import Path
from shutil import rmtree

from tidegate.bundle.header import MANIFEST_MAX_BYTES
from tidegate.bundle.manifest import Manifest, bundle_id, parse_manifest
from tidegate.bundle.papers import MANIFEST_FILE, TABLES_FILE
from tidegate.bundle.tables import Tables, parse_tables
from tidegate.depot.descriptors import Descriptor
from tidegate.depot.incoming import INCOMING
from tidegate.depot.store import Depot
from tidegate.errors import DigestError, FormatError
from tidegate.files import sync_filesystem, sync_folder
from tidegate.slip.receipt import receipt_of
from tidegate_receiver.reassembly.spool import Spool, disk

PAPERS_FOLDER = "bundle"


def holds_content(folder: Path) -> bool:
    """Whether a bundle's content is in its folder in quarantine; of one that was loaded only the papers are."""
    return (folder / "oci-layout").is_file()


def empty_quarantine(folder: Path) -> None:
    """Remove the content; the papers (manifest, tables, signatures) stay as the record of what was let in."""
    for name in ("oci-layout", "index.json", ".lock"):
        (folder / name).unlink(missing_ok=True)
    for name in ("blobs", INCOMING):
        rmtree(folder / name, ignore_errors=True)


def lay_down(spool: Spool, target: Path, manifest: Manifest, head: memoryview, manifest_length: int) -> None:
    """Make the verified content of `spool` an OCI layout and move it to `target`.

    Whatever was killed on the way is done again; a `target` that is there was moved whole.
    """
    if holds_content(target):
        return
    spool.save_file(MANIFEST_FILE, head[:manifest_length])
    spool.save_file(TABLES_FILE, head[manifest_length:])
    layout = Depot(spool.content)
    # What the bundle builds on is not in this layout; an index must not name what is not there.
    present = (item for item in manifest.artifacts if layout.has(item.digest))
    layout.set_references(
        {item.name: Descriptor(item.media_type, item.digest, item.size, item.annotations or {}) for item in present}
    )
    with disk("syncing a bundle"):
        sync_filesystem(spool.content)
        if target.is_dir():  # papers of a bundle that was cleaned up and is needed again: the same come with it now
            target.rename(spool.folder / "papers-before")
            sync_folder(target.parent)
    spool.move_content(target)


def quarantine_receipt(folder: Path, tables: Tables) -> str:
    """What only the content gives (docs/format/slip.md, S-6), of the bundle in `folder`."""
    digests = tables.blobs["sha256"].tobytes()
    layout = Depot(folder, create=False)

    def read(digest: str, offset: int, length: int) -> bytes:
        with layout.open_blob(digest) as file:
            file.seek(offset)
            return file.read(length)

    keys = [digests[at : at + 32] for at in range(0, len(digests), 32)]
    return receipt_of(folder.name, keys, tables.blobs["size"].tolist(), read)


class QuarantinedBundle:
    """A bundle in quarantine; what it says of itself is read from its papers and checked against its bundle_id."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.layout = Depot(folder, create=False)

    @property
    def bundle_id(self) -> str:
        return self.folder.name

    def manifest(self) -> Manifest:
        """The signed manifest. Raises DigestError where it is not the one that the folder is named by."""
        return parse_manifest(self.manifest_bytes())

    def manifest_bytes(self) -> bytes:
        data = self._read(MANIFEST_FILE)
        if len(data) > MANIFEST_MAX_BYTES:
            raise FormatError(f"manifest: {len(data)} bytes, the limit is {MANIFEST_MAX_BYTES}")
        found = bundle_id(data)
        if found != self.bundle_id:
            raise DigestError(f"quarantine {self.bundle_id[:16]}: its manifest is of bundle {found[:16]}")
        return data

    def tables(self) -> Tables:
        """The tables, after every check of the format."""
        manifest_data = self.manifest_bytes()
        manifest = parse_manifest(manifest_data)
        return parse_tables(
            manifest_data + self._read(TABLES_FILE), len(manifest_data), manifest, manifest.chunks_length
        )

    def paper(self, name: str) -> bytes:
        """One of the other papers, as it was received: cover, announcement, channel.root."""
        return self._read(name)

    def _read(self, name: str) -> bytes:
        with disk("reading a bundle in quarantine"):
            return (self.folder / PAPERS_FOLDER / name).read_bytes()
