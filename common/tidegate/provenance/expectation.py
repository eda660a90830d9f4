"""What must belong to an image, said by whoever asks for it, and whether it does.

An expectation travels with the artifact, as an annotation of the signed manifest, so that the high side holds the image
to it again without asking anybody. Form: docs/format/content.md, "What must be there".
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Annotated

from msgspec import Meta

from tidegate import canonical
from tidegate.depot.graph import BlobReader
from tidegate.errors import FormatError, KeyFileError
from tidegate.provenance.attachments import Attachment
from tidegate.provenance.cosign import Finding, Verdict, examine
from tidegate.provenance.keys import PublicKey, key_from_text

#: annotation of an artifact in the manifest
EXPECT = "vnd.tidegate.expect"
EXPECT_MAX_BYTES = 4096  # what an annotation may hold (docs/format/bundle.md)
#: cosign's short names for predicate types
PREDICATES = {
    "slsaprovenance": "https://slsa.dev/provenance/v0.2",
    "slsaprovenance02": "https://slsa.dev/provenance/v0.2",
    "slsaprovenance1": "https://slsa.dev/provenance/v1",
    "link": "https://in-toto.io/Link/v1",
    "spdx": "https://spdx.dev/Document",
    "spdxjson": "https://spdx.dev/Document",
    "cyclonedx": "https://cyclonedx.org/bom",
    "vuln": "https://cosign.sigstore.dev/attestation/vuln/v1",
    "openvex": "https://openvex.dev/ns",
    "custom": "https://cosign.sigstore.dev/attestation/v1",
}
SBOM_TYPES = frozenset(
    {
        "application/spdx+json",
        "text/spdx",
        "text/spdx+json",
        "application/vnd.cyclonedx",
        "application/vnd.cyclonedx+json",
        "application/vnd.cyclonedx+xml",
        "application/vnd.syft+json",
    }
)
_SBOM_PREDICATES = frozenset({PREDICATES["spdx"], PREDICATES["cyclonedx"]})

_Text = Annotated[str, Meta(min_length=1, max_length=512)]


@dataclass(frozen=True, slots=True)
class ExpectedKey:
    """A key as it travels: the operator's name for it, and its DER as base64."""

    name: Annotated[str, Meta(min_length=1, max_length=128)]
    der: Annotated[str, Meta(min_length=1, max_length=2048)]


@dataclass(frozen=True, slots=True)
class Expectation:
    """All of it must be so: signed by every key, attested by one of them, and there."""

    keys: Annotated[tuple[ExpectedKey, ...], Meta(max_length=16)] = ()
    predicates: Annotated[tuple[_Text, ...], Meta(max_length=16)] = ()
    types: Annotated[tuple[_Text, ...], Meta(max_length=16)] = ()
    identity: Annotated[str, Meta(max_length=512)] = ""
    sbom: bool = False

    def to_text(self) -> str:
        """The annotation's value. Raises FormatError where it is too long to travel."""
        text = canonical.dumps(self).decode()
        if len(text) > EXPECT_MAX_BYTES:
            raise FormatError(f"expectation: {len(text)} bytes, {EXPECT_MAX_BYTES} can travel with an artifact")
        return text

    def public_keys(self, what: str) -> tuple[PublicKey, ...]:
        """Raises FormatError for what is no key."""
        try:
            return tuple(key_from_text(key.der, key.name, what=f"{what}: key {key.name}") for key in self.keys)
        except KeyFileError as error:
            raise FormatError(error.message) from None


def parse_expectation(text: str, *, what: str) -> Expectation:
    """Read an annotation's value. Raises FormatError."""
    found = canonical.loads(text.encode(), Expectation, what=f"{what}: {EXPECT}", max_bytes=EXPECT_MAX_BYTES)
    assert isinstance(found, Expectation)
    return found


@dataclass(frozen=True, slots=True)
class Judgement:
    """What was found for one image: faults against the expectation, and a verdict in words for the ledger."""

    verdict: str
    faults: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = field(default=(), repr=False)


def judge(
    reader: BlobReader,
    attachments: Iterable[Attachment],
    keys: tuple[PublicKey, ...],
    expectation: Expectation | None,
) -> Judgement:
    """Look at all that is attached to one image. Raises DepotError for a blob that is missing or damaged."""
    attached = tuple(attachments)
    identity = expectation.identity if expectation else ""
    findings = tuple(found for item in attached for found in examine(reader, item, keys, identity=identity))
    faults = tuple(_faults(attached, findings, keys, expectation)) if expectation else ()
    return Judgement(_words(attached, findings, keys, faults), faults, findings)


def _faults(
    attached: tuple[Attachment, ...],
    findings: tuple[Finding, ...],
    keys: tuple[PublicKey, ...],
    expectation: Expectation,
) -> Iterable[str]:
    valid = [found for found in findings if found.verdict is Verdict.VALID]
    signers = {found.key.key_id for found in valid if found.key is not None and found.is_signature}
    for key in keys:
        if key.key_id not in signers:
            yield f"no signature by {key.name} holds{_why(findings)}"
    attested = {found.predicate_type for found in valid}
    for predicate in expectation.predicates:
        if predicate not in attested:
            yield f"no attestation of {predicate} holds{_why(findings)}"
    types = {item.artifact_type for item in attached}
    types |= {layer.media_type for item in attached for layer in item.manifest.layers}
    for wanted in expectation.types:
        if wanted not in types:
            yield f"nothing of type {wanted} belongs to it"
    if expectation.sbom and not _has_sbom(attached, types, attested):
        yield "no SBOM belongs to it"


def _has_sbom(attached: tuple[Attachment, ...], types: set[str], attested: set[str]) -> bool:
    return bool(types & SBOM_TYPES or attested & _SBOM_PREDICATES) or any(item.suffix == "sbom" for item in attached)


def _why(findings: tuple[Finding, ...]) -> str:
    """What the others were, so that a person need not look."""
    others = [found for found in findings if found.verdict is not Verdict.VALID]
    kinds = sorted({f"{found.verdict} ({found.reason})" if found.reason else str(found.verdict) for found in others})
    return f"; there is one {', one '.join(kinds)}"[:400] if kinds else ""


def _words(
    attached: tuple[Attachment, ...],
    findings: tuple[Finding, ...],
    keys: tuple[PublicKey, ...],
    faults: tuple[str, ...],
) -> str:
    if faults:
        return f"refused: {'; '.join(faults)}"
    valid = [found for found in findings if found.verdict is Verdict.VALID and found.key is not None]
    names = sorted({found.key.name for found in valid if found.key is not None and found.is_signature})
    predicates = sorted({found.predicate_type for found in valid if not found.is_signature})
    parts = [f"signed by {', '.join(names)}"] if names else []
    parts += [f"attested: {', '.join(predicates)}"] if predicates else []
    if parts:
        return "; ".join(parts)
    if findings:
        return "signed, by no key known here" if keys else "signed, and no key was named to hold it against"
    return f"{len(attached)} attached, none of them a signature" if attached else "nothing belongs to it"
