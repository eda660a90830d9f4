"""A bundle's *papers*: what stays of it beside its blobs.

On the high side they lie in ``quarantine/<bundle_id>/bundle/``: intake writes them, promotion reads them, `show` and
`verify` look at them. On the low side manifest, tables and cover are put into ``papers/<bundle_id>/`` when the bundle's
file goes, since what it carried stays the base of later ones. The names of the files, and how a pair of them is read.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from tidegate.bundle.header import MANIFEST_MAX_BYTES
from tidegate.errors import DigestError, FormatError
from tidegate.files import host_error, map_file
from tidegate.units import MIB

if TYPE_CHECKING:
    from tidegate.bundle.manifest import Manifest
    from tidegate.bundle.tables import Tables

#: under a low side's root
PAPERS_ROOT = "papers"
PAPERS_FOLDER = "bundle"
MANIFEST_FILE = "manifest.json"
TABLES_FILE = "tables"
COVER_FILE = "cover"
ANNOUNCEMENT_FILE = "announcement"
CHAIN_FILE = "channel.root"

#: the channel's chain as it is stored (trust.md, T-33)
CHAIN_MAX_BYTES = 1 * MIB


def read_papers(folder: Path, name: str) -> "tuple[Manifest, Tables]":
    """Manifest and tables of bundle `name` from its papers, after every check of the format.

    Raises HostError where they are not there, DigestError and FormatError where they are not what was signed.
    """
    from tidegate.bundle.manifest import bundle_id, parse_manifest
    from tidegate.bundle.tables import parse_tables

    try:
        with open(folder / MANIFEST_FILE, "rb") as file:
            data = file.read(MANIFEST_MAX_BYTES + 1)
        if len(data) > MANIFEST_MAX_BYTES:
            raise FormatError(f"manifest: more than {MANIFEST_MAX_BYTES} bytes")
        if bundle_id(data) != name:
            raise DigestError(f"{folder}: the manifest there is of bundle {bundle_id(data)[:16]}, not {name[:16]}")
        tables = map_file(folder / TABLES_FILE)
    except OSError as error:
        raise host_error(error, "reading a bundle's papers") from None
    manifest = parse_manifest(data)
    return manifest, parse_tables(tables, 0, manifest, manifest.chunks_length)
