"""Read the blobs of a received bundle again, wherever they lie by now, and compare each with its digest."""

import hashlib
from collections.abc import Callable
from pathlib import Path

from tidegate.bundle.tables import Tables, digest_of
from tidegate.errors import BundleUnknownError, FormatError
from tidegate.files import host_error
from tidegate.names import hex_of
from tidegate.units import MIB

READ_BYTES = 4 * MIB
Progress = Callable[[int, int, str], None]


def read_bytes(path: Path, limit: int) -> bytes:
    """A small file of ours. Raises BundleUnknownError where it is gone, FormatError above the limit."""
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except FileNotFoundError:
        raise BundleUnknownError(f"{path}: is not here any more") from None
    except OSError as error:
        raise host_error(error, "reading a bundle") from None
    if len(data) > limit:
        raise FormatError(f"{path}: more than {limit} bytes")
    return data


def count_damaged_blobs(tables: Tables, layouts: tuple[Path, ...], progress: Progress) -> int:
    """How many blobs of the bundle none of the OCI `layouts` has whole."""
    total = int(tables.blobs["size"].sum())
    done = damaged = 0
    for record in tables.blobs:
        digest, size = digest_of(record), int(record["size"])
        if not any(_is_whole(layout / "blobs" / "sha256" / hex_of(digest), digest, size) for layout in layouts):
            damaged += 1
        done += size
        progress(done, total, "reading")
    return damaged


def _is_whole(path: Path, digest: str, size: int) -> bool:
    try:
        with path.open("rb", buffering=0) as file:
            if path.stat().st_size != size:
                return False
            hashed, buffer = hashlib.sha256(), memoryview(bytearray(min(READ_BYTES, max(size, 1))))
            while count := file.readinto(buffer):
                hashed.update(buffer[:count])
    except OSError:
        return False
    return hashed.hexdigest() == hex_of(digest)
