"""Attach a local SBOM to an image: an artifact whose `subject` is the image, as ORAS makes them. Same file, same bytes.

What kind of SBOM it is is read from its beginning: SPDX (JSON or text) and CycloneDX (JSON or XML) are known.
"""

import os
import re
from collections.abc import Callable
from pathlib import Path

from tidegate.canonical import dumps
from tidegate.depot.commit import BlobCommit
from tidegate.depot.descriptors import Descriptor
from tidegate.errors import CollectError
from tidegate.oci import EMPTY_BYTES, OCI_EMPTY, OCI_MANIFEST, TITLE
from tidegate.provenance.attachments import ATTACHMENT
from tidegate.units import KIB, MIB
from tidegate_sender.collect.kinds import Brought
from tidegate_sender.collect.tree import named_error

SBOM_MAX_BYTES = 1024 * MIB
_LOOK_BYTES = 64 * KIB
_PIECE_BYTES = 1 * MIB
_FORMS = (
    (re.compile(rb'"spdxVersion"\s*:\s*"SPDX-'), "application/spdx+json"),
    (re.compile(rb'"@context"\s*:\s*"https://spdx\.org/rdf/3'), "application/spdx+json"),
    (re.compile(rb'"bomFormat"\s*:\s*"CycloneDX"'), "application/vnd.cyclonedx+json"),
    (re.compile(rb"<bom\s[^>]*http://cyclonedx\.org/schema/bom"), "application/vnd.cyclonedx+xml"),
    (re.compile(rb"^SPDXVersion:\s*SPDX-", re.MULTILINE), "text/spdx"),
)


def attach_sbom(path: Path, subject: Descriptor, commit: BlobCommit, name: Callable[[str], str]) -> Brought:
    """The file as an artifact of its own in `commit`. `name` makes the artifact's name of its digest.

    Raises CollectError for a file that cannot be read or is no SBOM.
    """
    media_type, layer = _layer(path, commit)
    config = commit.add(EMPTY_BYTES, OCI_EMPTY)
    about = Descriptor(subject.media_type, subject.digest, subject.size)
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": media_type,
        "config": config.to_json(),
        "layers": [{**layer.to_json(), "mediaType": media_type, "annotations": {TITLE: path.name}}],
        "subject": about.to_json(),
    }
    root = commit.add(dumps(manifest), OCI_MANIFEST)
    return Brought(name(root.digest), ATTACHMENT, root, root.size + config.size + layer.size)


def _layer(path: Path, commit: BlobCommit) -> tuple[str, Descriptor]:
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > SBOM_MAX_BYTES:
                raise CollectError(f"{path}: {size} bytes; an SBOM of more than {SBOM_MAX_BYTES} is not attached")
            media_type = sbom_type(file.read(_LOOK_BYTES), str(path))
            file.seek(0)
            with commit.writer() as writer:
                while piece := file.read(_PIECE_BYTES):
                    writer.write(piece)
                return media_type, writer.finish()
    except OSError as error:
        raise named_error(error, path) from None


def sbom_type(head: bytes, what: str) -> str:
    """The media type of an SBOM by its first bytes. Raises CollectError for what is none."""
    for form, media_type in _FORMS:
        if form.search(head):
            return media_type
    raise CollectError(
        f"{what}: is no SBOM that is known here", hint="SPDX as JSON or text, CycloneDX as JSON or XML can be attached"
    )
