"""Evidence of a fork: two bundles with one number. The papers of both stay, whatever becomes of their content.

    evidence/<bundle name>/<bundle_id>/    manifest.json  cover  announcement  channel.root

These four prove who signed what: the chain of roots the keys, the cover who signed the manifest, the announcement
which carrier key sent it. Nothing here is ever removed or changed by Tidegate.
"""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tidegate.bundle.papers import ANNOUNCEMENT_FILE, CHAIN_FILE, COVER_FILE, MANIFEST_FILE
from tidegate.carrier.announcement import parse_announcement, read_announcement_frame
from tidegate.errors import MediaError, RefusedError
from tidegate.files import make_folders, write_durably
from tidegate.ledger.entries import Target
from tidegate_receiver.intake.quarantine import PAPERS_FOLDER
from tidegate_receiver.reassembly.spool import Spool, disk

if TYPE_CHECKING:
    from tidegate.workspace import Workspace

FOLDER = "evidence"
_PAPER_MAX_BYTES = 64 * 2**20


def keep_papers(workspace: "Workspace", name: str, bundle_id: str, papers: Mapping[str, bytes]) -> Target:
    """Keep one bundle's papers; what is there already stays as it is. Where they lie, as entries list it."""
    place = Path(FOLDER) / name / bundle_id
    folder = workspace.folder(FOLDER) / name / bundle_id
    with disk("keeping evidence"):
        make_folders(folder, mode=0o700)
        for paper, data in papers.items():
            if not (folder / paper).exists():
                write_durably(folder / paper, data, mode=0o400)
    return Target(bundle_id, str(place))


def keep_known_papers(workspace: "Workspace", name: str, bundle_id: str) -> Target:
    """Keep the papers of a bundle that was taken before, or is still coming, as far as they are here."""
    quarantined = workspace.root / "quarantine" / bundle_id / PAPERS_FOLDER
    spool = Spool(workspace.root / "spool" / bundle_id)
    papers: dict[str, bytes] = {}
    for paper in (MANIFEST_FILE, COVER_FILE, ANNOUNCEMENT_FILE, CHAIN_FILE):
        for folder in (quarantined, spool.bundle_folder):
            with disk("reading a bundle's papers"), contextlib.suppress(FileNotFoundError, NotADirectoryError):
                papers.setdefault(paper, _read(folder / paper))
    if MANIFEST_FILE not in papers and ANNOUNCEMENT_FILE in papers:
        head = spool.open_head()
        with contextlib.suppress(RefusedError, MediaError):
            length = parse_announcement(read_announcement_frame(papers[ANNOUNCEMENT_FILE])).manifest_length
            if head is not None:
                papers[MANIFEST_FILE] = bytes(head[:length])
    return keep_papers(workspace, name, bundle_id, papers)


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_PAPER_MAX_BYTES)
