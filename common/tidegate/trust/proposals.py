"""A next root that not enough people have signed yet: it goes from one to the next as a file, and is taken up last.

The file is the whole chain, and after it one line more: the envelope of the next version with the signatures that it
has so far. Whoever signs sees from the file alone what it changes; when it is taken up, the rules of every chain judge
it. Format: docs/format/trust.md, "Proposal".
"""

from collections.abc import Iterable
from dataclasses import dataclass

from tidegate.errors import FormatError, RotationError, SignatureError, TrustError
from tidegate.trust.envelope import ROOT_TYPE, Envelope, pae, parse_envelope, sign_envelope
from tidegate.trust.keys import Signer
from tidegate.trust.payload import SITE_ROOT_MAX_BYTES, RoleName, Root, parse_root
from tidegate.trust.root import SITE_CHAIN_MAX_BYTES, Chain, VerifiedSigner, parse_chain, verified_signers

PROPOSAL_MAX_BYTES = SITE_CHAIN_MAX_BYTES + 2 * SITE_ROOT_MAX_BYTES


@dataclass(frozen=True, slots=True)
class Proposal:
    """A chain, and the version that may follow. Its signatures are checked, but perhaps too few."""

    chain: Chain
    root: Root
    envelope: Envelope

    def to_bytes(self) -> bytes:
        return self.chain.to_whole_bytes() + self.envelope.to_bytes() + b"\n"

    def signed_by(self, signers: Iterable[Signer]) -> "Proposal":
        """With the signatures of `signers`, too. Raises TrustError where one is no root key, old or new."""
        made = sign_root(self.chain, self.root, signers)
        own = {item.key_id for item in made.signatures}
        others = (item for item in self.envelope.signatures if item.key_id not in own)
        together = sorted((*made.signatures, *others), key=lambda item: item.key_id)
        return Proposal(self.chain, self.root, Envelope(ROOT_TYPE, made.payload, tuple(together)))

    def lacks(self) -> tuple[str, ...]:
        """Whose signatures are lacking, in words: nothing where it can be taken up."""
        sides = ((self.chain.newest, "the root as it is"), (self.root, "the root as it will be"))
        found = []
        for root, whose in sides:
            role = root.roles[RoleName.ROOT]
            signed = {signer.holder for signer in _signers(root, self.envelope)}
            if len(signed) < role.threshold:
                others = sorted({root.keys[item].holder for item in role.keys} - signed)
                found.append(f"{role.threshold - len(signed)} more for {whose}, of {', '.join(others)}")
        return tuple(found)

    def taken_up(self) -> Chain:
        """The longer chain. Raises RotationError where signatures are lacking, or a rule does not hold."""
        return self.chain.extended(self.envelope)


def propose(chain: Chain, root: Root, signers: Iterable[Signer]) -> Proposal:
    """The next version signed by `signers`, after the rules of a root. Raises FormatError, TrustError."""
    checked = parse_root(root.to_bytes(), root.label)
    return Proposal(chain, checked, sign_root(chain, checked, signers))


def sign_root(chain: Chain, root: Root, signers: Iterable[Signer]) -> Envelope:
    """`root` signed by those of `signers`, each of which must be a root key of the old version or the new."""
    known = {**chain.newest.role_keys(RoleName.ROOT), **root.role_keys(RoleName.ROOT)}
    listed = tuple(signers)
    for signer in listed:
        if signer.key_id not in known:
            raise TrustError(
                f"key {signer.key_id[:16]}: is no root key of {root.type} {root.name}",
                hint='"tidegate keys list" shows who holds the role root',
            )
    return sign_envelope(root.to_bytes(), ROOT_TYPE, listed)


def read_proposal(data: bytes) -> Proposal:
    """Read and check a proposal, but for the number of its signatures.

    Raises FormatError, RotationError, SignatureError.
    """
    if len(data) > PROPOSAL_MAX_BYTES:
        raise FormatError(f"proposal: {len(data)} bytes, the limit is {PROPOSAL_MAX_BYTES}")
    chain_data, _, line = data.removesuffix(b"\n").rpartition(b"\n")
    if not chain_data or not data.endswith(b"\n"):
        raise FormatError("proposal: is not a chain and one line more")
    chain = parse_chain(chain_data + b"\n", max_bytes=SITE_CHAIN_MAX_BYTES)
    envelope = parse_envelope(line, what="proposal", max_bytes=PROPOSAL_MAX_BYTES)
    if envelope.payload_type != ROOT_TYPE:
        raise FormatError(f"proposal: payload type is {envelope.payload_type!r}, not {ROOT_TYPE!r}")
    root = parse_root(envelope.payload, "proposal")
    if root.version != chain.newest.version + 1 or root.id != chain.channel_id:
        raise RotationError(f"proposal: {root.label} does not follow {chain.newest.label}")
    known = {**chain.newest.role_keys(RoleName.ROOT), **root.role_keys(RoleName.ROOT)}
    strangers = [item.key_id for item in envelope.signatures if item.key_id not in known]
    if strangers:
        raise SignatureError(f"proposal: signed by {strangers[0][:16]}, which is no root key")
    proposal = Proposal(chain, root, envelope)
    proposal.lacks()  # every signature is verified on the way
    return proposal


def _signers(root: Root, envelope: Envelope) -> tuple[VerifiedSigner, ...]:
    message = pae(ROOT_TYPE, envelope.payload)
    return verified_signers(root, RoleName.ROOT, message, envelope.signatures, "proposal")
