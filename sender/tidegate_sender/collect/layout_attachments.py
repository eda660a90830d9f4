"""Find what belongs to an image in its OCI layout, a folder or a tar.

By tag, by `subject`, as `cosign save` has it, to any depth.

A layout has one index in place of tags and a referrers API: its entries are looked through once, and those of the
indexes under fallback tags (``sha256-<hex>``), where regctl and ORAS keep them. Limits: docs/format/content.md, C-17.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tidegate.depot.descriptors import MANIFEST_MAX_BYTES, Descriptor, Manifest, parse_index_entries
from tidegate.depot.graph import BlobReader, walk
from tidegate.errors import BlobDamagedError, BlobMissingError, GraphError
from tidegate.oci import INDEX_TYPES, MANIFEST_TYPES, REF_NAME
from tidegate.provenance.attachments import attached_tag, is_fallback_tag, subject_of, tagged_subject
from tidegate_sender.collect.archive_file import ArchiveError
from tidegate_sender.collect.attachments import ATTACHMENTS_MAX, DEPTH_MAX, Found

#: the annotation by which `cosign save` says what an entry is to the image of its layout
COSIGN_KIND = "kind"
_COSIGN_KINDS = {"dev.cosignproject.cosign/sigs": "sig", "dev.cosignproject.cosign/atts": "att"}


@dataclass(frozen=True, slots=True)
class _Claim:
    """An entry that says to what it belongs, and under which tag (empty: by `subject`)."""

    subject: str
    tag: str
    root: Descriptor


def belongs_to_another(entry: Descriptor, source: BlobReader) -> bool:
    """Whether an entry of the index is no image of its own: nobody who leaves the tag out means it."""
    tag = _tag_of(entry)
    if tagged_subject(tag)[0] or is_fallback_tag(tag) or entry.annotations.get(COSIGN_KIND) in _COSIGN_KINDS:
        return True
    by_digest = not tag or "@" in entry.annotations.get(REF_NAME, "")
    return by_digest and bool(_subject(entry, source))


def is_list(entry: Descriptor) -> bool:
    """Whether it only lists what belongs to something, under a fallback tag."""
    return is_fallback_tag(_tag_of(entry)) and entry.media_type in INDEX_TYPES


def those_that_belong(entries: Iterable[Descriptor], source: BlobReader) -> tuple[Descriptor, ...]:
    """The entries that say what they belong to, also those that are something of their own too: where many images are
    asked about, only these need to be looked at for each."""
    return tuple(entry for entry in entries if belongs_to_another(entry, source) or _subject(entry, source))


def attachments_of(
    entries: Iterable[Descriptor], source: BlobReader, image: str, subjects: Iterable[str], what: str
) -> tuple[Found, ...]:
    """All that belongs to the manifests `subjects` of the entry `image` of `what`, each once, what is nearer first.

    Raises GraphError for what never ends, BlobMissingError and BlobDamagedError for what is not whole.
    """
    claims: dict[str, list[_Claim]] = {}
    for claim in _claims(entries, source, image):
        claims.setdefault(claim.subject, []).append(claim)
    found: dict[str, Found] = {}
    level = list(dict.fromkeys(subjects))
    seen = set(level)
    for _ in range(DEPTH_MAX):
        following: list[str] = []
        for claim in (claim for digest in level for claim in claims.get(digest, ())):
            reference = claim.tag or claim.root.digest
            if reference in found:
                continue
            if len(found) >= ATTACHMENTS_MAX:
                raise GraphError(f"{what}: more than {ATTACHMENTS_MAX} things belong to an image")
            manifests: list[str] = []
            found[reference] = Found(claim.subject, reference, claim.root, _graph(source, claim.root, manifests))
            following += [digest for digest in manifests if digest not in seen]
            seen.update(manifests)
        if not following:
            return tuple(found.values())
        level = following
    raise GraphError(f"{what}: what belongs to it goes deeper than {DEPTH_MAX} levels")


def _graph(source: BlobReader, root: Descriptor, manifests: list[str]) -> tuple[Descriptor, ...]:
    def visit(descriptor: Descriptor, _manifest: Manifest, _data: bytes) -> None:
        manifests.append(descriptor.digest)

    return walk(source, root, visit=visit)


def _claims(entries: Iterable[Descriptor], source: BlobReader, image: str) -> Iterator[_Claim]:
    for entry in entries:
        tag = _tag_of(entry)
        root = Descriptor(entry.media_type, entry.digest, entry.size)
        subject, _suffix = tagged_subject(tag)
        if subject:
            yield _Claim(subject, tag, root)
        elif is_fallback_tag(tag) and entry.media_type in INDEX_TYPES:
            for listed in _listed(entry, source):
                yield from _by_subject(listed, source)
        elif suffix := _COSIGN_KINDS.get(entry.annotations.get(COSIGN_KIND, "")):
            yield _Claim(image, attached_tag(image, suffix), root)
        else:
            yield from _by_subject(root, source)


def _by_subject(root: Descriptor, source: BlobReader) -> Iterator[_Claim]:
    subject = _subject(root, source)
    if subject:
        yield _Claim(subject, "", Descriptor(root.media_type, root.digest, root.size))


def _listed(entry: Descriptor, source: BlobReader) -> tuple[Descriptor, ...]:
    data = _data(entry, source)
    return parse_index_entries(data, what=entry.digest, max_bytes=MANIFEST_MAX_BYTES) if data else ()


def _subject(entry: Descriptor, source: BlobReader) -> str:
    """What the entry's own manifest says that it belongs to; empty for none."""
    return subject_of(_data(entry, source)) if entry.media_type in INDEX_TYPES | MANIFEST_TYPES else ""


def _data(entry: Descriptor, source: BlobReader) -> bytes:
    """Empty for what is not whole: most entries are other images, which nobody asked for."""
    if entry.size > MANIFEST_MAX_BYTES:
        return b""
    try:
        return source.read_blob(entry.digest, max_bytes=entry.size)
    except (BlobMissingError, BlobDamagedError, ArchiveError):
        return b""


def _tag_of(entry: Descriptor) -> str:
    """``sha256-….sig`` of ``sha256-….sig`` or, as stages have it, of ``team/app:sha256-….sig``."""
    return entry.annotations.get(REF_NAME, "").rpartition("/")[2].rpartition(":")[2]
