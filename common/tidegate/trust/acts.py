"""Acts that need two people: a small signed statement, which may go from one person's machine to the other's as a file.

An act names the site, what is done, from what to what, and why. It counts when enough holders of the role approver in
the newest site root have signed it; a holder counts once. Format: docs/format/trust.md, "Act".
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Literal

from msgspec import Meta

from tidegate import canonical
from tidegate.clock import TIME_PATTERN, format_time, parse_time
from tidegate.errors import FormatError, SignatureError
from tidegate.trust.envelope import Envelope, pae, parse_envelope, sign_envelope
from tidegate.trust.keys import Hex64, Signer
from tidegate.trust.payload import RoleName, Root
from tidegate.trust.root import VerifiedSigner, verified_signers
from tidegate.units import KIB

ACT_TYPE = "application/vnd.tidegate.act.v1+json"
ACT_MAX_BYTES = 16 * KIB
#: people who must have signed
PEOPLE = 2

Time = Annotated[str, Meta(pattern=TIME_PATTERN)]


class ActKind(StrEnum):
    """What may be done so."""

    LOWER_FLOOR = "lower-floor"


@dataclass(frozen=True, slots=True)
class Act:
    """One act. `before` and `after` are times; an act counts only while the floor stands at `before`."""

    act: ActKind
    site: Hex64
    before: Time
    after: Time
    reason: Annotated[str, Meta(min_length=1, max_length=256)]
    format: Literal[1] = 1

    def to_bytes(self) -> bytes:
        return canonical.dumps(self)


def sign_act(act: Act, signers: Iterable[Signer], *, earlier: Envelope | None = None) -> Envelope:
    """The act signed by `signers`, beside the signatures of `earlier`, which is of the same act."""
    made = sign_envelope(act.to_bytes(), ACT_TYPE, signers)
    if earlier is None:
        return made
    own = {item.key_id for item in made.signatures}
    others = tuple(item for item in earlier.signatures if item.key_id not in own)
    together = sorted((*made.signatures, *others), key=lambda item: item.key_id)
    return Envelope(ACT_TYPE, made.payload, tuple(together))


def read_act(data: bytes, site: Root) -> tuple[Act, Envelope, tuple[VerifiedSigner, ...]]:
    """The act in `data` with its envelope, and the approvers whose signatures hold; at least one.

    Raises FormatError, SignatureError.
    """
    envelope = parse_envelope(data, what="act", max_bytes=ACT_MAX_BYTES)
    if envelope.payload_type != ACT_TYPE:
        raise FormatError(f"act: payload type is {envelope.payload_type!r}, not {ACT_TYPE!r}")
    signers = approvers_of(envelope, site)
    if not signers:
        raise SignatureError(f"act: no key of role approver in {site.label} signed it")
    act = canonical.loads(envelope.payload, Act, what="act", max_bytes=ACT_MAX_BYTES)
    try:
        for text in (act.before, act.after):
            parse_time(text)  # the pattern knows no months
    except ValueError as error:
        raise FormatError(f"act: {error} (T-48)") from None
    return act, envelope, signers


def check_act(act: Act, site_id: str, floor: int, *, what: str) -> None:
    """Whether the act is for this site, and for the floor of time as it stands. Raises FormatError (T-49)."""
    if act.site != site_id:
        raise FormatError(f"{what}: is of another site, {act.site[:16]}")
    if parse_time(act.before) != floor:
        raise FormatError(f"{what}: was made when the floor stood at {act.before}, it is {format_time(floor)} now")
    if parse_time(act.after) >= floor:
        raise FormatError(f"{what}: lowers the floor to {act.after}, which is not lower")


def approvers_of(envelope: Envelope, site: Root) -> tuple[VerifiedSigner, ...]:
    """The approvers whose signatures on an act hold; raises SignatureError where one is named and does not."""
    message = pae(ACT_TYPE, envelope.payload)
    return verified_signers(site, RoleName.APPROVER, message, envelope.signatures, "act")
