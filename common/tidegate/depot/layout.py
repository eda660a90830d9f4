"""An OCI image layout on a disk: blobs named by their digest, and the names of artifacts in its index.

A blob is never changed, and its name is no proof: whoever reads to rely on it has it checked (`read_blob`,
`check_blob`). How blobs enter is `commit`'s affair, and what may go is the `store`'s. Several processes may use one
layout. Layout: docs/format/content.md.
"""

import contextlib
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from tidegate.canonical import dumps
from tidegate.depot.descriptors import Descriptor, check_digest, parse_index_entries
from tidegate.depot.incoming import INCOMING
from tidegate.errors import BlobDamagedError, BlobMissingError, DepotError
from tidegate.files import host_error, locked, make_folders, write_durably
from tidegate.names import hex_of
from tidegate.oci import OCI_INDEX, REF_NAME
from tidegate.units import MIB

INDEX_MAX_BYTES = 64 * MIB
LAYOUT_FILE = b'{"imageLayoutVersion":"1.0.0"}'
_LOCK_WAIT_SECONDS = 60.0
_READ_BYTES = 1 * MIB


class DepotLayout:
    """The OCI image layout under `folder`; made, durably, when it is not there and `create` is set."""

    def __init__(self, folder: Path, *, create: bool = True) -> None:
        self.folder = Path(folder)
        self.blobs_folder = self.folder / "blobs" / "sha256"
        if create:
            with disk("making a depot"):
                self._create()

    def _create(self) -> None:
        make_folders(self.blobs_folder)
        make_folders(self.folder / INCOMING, mode=0o700)
        if not (self.folder / "oci-layout").exists():
            write_durably(self.folder / "oci-layout", LAYOUT_FILE)
        if not (self.folder / "index.json").exists():
            with self.locked_index():
                if not (self.folder / "index.json").exists():
                    self._write_index({})

    # --- blobs -------------------------------------------------------------------------------

    def blob_path(self, digest: str) -> Path:
        """Where the blob lies or would lie. Raises GraphError for what is no digest."""
        check_digest(digest, "blob")
        return self.blobs_folder / hex_of(digest)

    def has(self, digest: str, size: int | None = None) -> bool:
        """Whether the blob is here; with `size`, whether it has that many bytes."""
        try:
            status = self.blob_path(digest).stat()
        except FileNotFoundError:
            return False
        return size is None or status.st_size == size

    def size(self, digest: str) -> int:
        """Bytes of the blob. Raises BlobMissingError."""
        try:
            return self.blob_path(digest).stat().st_size
        except FileNotFoundError:
            raise self._missing(digest) from None

    def open_blob(self, digest: str) -> BinaryIO:
        """The blob's file, unbuffered and unchecked. Raises BlobMissingError."""
        try:
            return open(self.blob_path(digest), "rb", buffering=0)
        except FileNotFoundError:
            raise self._missing(digest) from None

    def read_blob(self, digest: str, *, max_bytes: int) -> bytes:
        """A small blob whole, checked. Raises BlobMissingError, BlobDamagedError, DepotError above `max_bytes`."""
        with disk(f"reading blob {digest}"), self.open_blob(digest) as file:
            data = _read_up_to(file, max_bytes + 1)
        if len(data) > max_bytes:
            raise DepotError(f"blob {digest}: more than the {max_bytes} bytes expected here")
        _compare(digest, hashlib.sha256(data).hexdigest())
        return data

    def check_blob(self, digest: str) -> int:
        """Read the blob and compare its digest; gives its size. Raises BlobMissingError, BlobDamagedError."""
        hasher, size, buffer = hashlib.sha256(), 0, memoryview(bytearray(_READ_BYTES))
        with disk(f"reading blob {digest}"), self.open_blob(digest) as file:
            while count := file.readinto(buffer):  # type: ignore[attr-defined]
                hasher.update(buffer[:count])
                size += count
        _compare(digest, hasher.hexdigest())
        return size

    def digests(self) -> Iterator[str]:
        """Every blob that is here, in no order."""
        with os.scandir(self.blobs_folder) as entries:
            for entry in entries:
                if len(entry.name) == 64:
                    yield f"sha256:{entry.name}"

    def missing(self, blobs: Iterable[Descriptor]) -> tuple[Descriptor, ...]:
        """Those of `blobs` that are not here with their size."""
        return tuple(item for item in blobs if not self.has(item.digest, item.size))

    def _missing(self, digest: str) -> BlobMissingError:
        return BlobMissingError(f"blob {digest} is not in {self.folder}")

    # --- names -------------------------------------------------------------------------------

    def references(self) -> dict[str, Descriptor]:
        """Names and what they name, sorted by name. The descriptors' annotations are without the name itself."""
        path = self.folder / "index.json"
        try:
            with disk("reading the depot's index"):
                size = path.stat().st_size
                if size > INDEX_MAX_BYTES:
                    raise DepotError(f"{path}: {size} bytes, the limit is {INDEX_MAX_BYTES}")
                data = path.read_bytes()
        except FileNotFoundError:
            raise DepotError(f"{self.folder} is no OCI layout: it has no index.json") from None
        entries = parse_index_entries(data, what=str(path), max_bytes=INDEX_MAX_BYTES)
        named = ((item.annotations.get(REF_NAME, ""), item) for item in entries)
        return {name: _without_name(item) for name, item in sorted(named, key=lambda pair: pair[0]) if name}

    def reference(self, name: str) -> Descriptor | None:
        """What `name` names, or None where nothing has that name."""
        return self.references().get(name)

    def set_reference(self, name: str, descriptor: Descriptor) -> None:
        """Name an artifact, durably; the name may have named another before."""
        self.set_references({name: descriptor})

    def set_references(self, changes: Mapping[str, Descriptor | None]) -> None:
        """Several names at once, in one replacement of the index; None removes a name."""
        with disk("writing the depot's index"), self.locked_index():
            references: dict[str, Descriptor | None] = dict(self.references())
            wanted = {name: item for name, item in (references | dict(changes)).items() if item is not None}
            if wanted != references:
                self._write_index(wanted)

    def remove_reference(self, name: str) -> None:
        """Remove a name; its blobs stay until `garbage` is removed."""
        self.set_references({name: None})

    def _write_index(self, references: Mapping[str, Descriptor]) -> None:
        entries = [
            replace(item, annotations={**item.annotations, REF_NAME: name}).to_json()
            for name, item in sorted(references.items())
        ]
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
        write_durably(self.folder / "index.json", dumps(index))

    def locked_index(self) -> contextlib.AbstractContextManager[None]:
        busy = f"{self.folder}: another command has been writing its index for {_LOCK_WAIT_SECONDS:.0f} s"
        return locked(self.folder / ".lock", busy=busy, wait_seconds=_LOCK_WAIT_SECONDS)


def _without_name(item: Descriptor) -> Descriptor:
    return replace(item, annotations={key: text for key, text in item.annotations.items() if key != REF_NAME})


def _read_up_to(file: BinaryIO, count: int) -> bytes:
    pieces, rest = [], count
    while rest and (piece := file.read(min(rest, _READ_BYTES))):
        pieces.append(piece)
        rest -= len(piece)
    return b"".join(pieces)


def _compare(digest: str, actual_hex: str) -> None:
    if actual_hex != hex_of(digest):
        raise BlobDamagedError(f"blob {digest}: its bytes have the digest sha256:{actual_hex}")


@contextlib.contextmanager
def disk(doing: str) -> Iterator[None]:
    """Errors of the disk under the depot as ours; a name that is missing stays FileNotFoundError for the callers."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise host_error(error, doing) from error
