"""Co-sign the head of a site's ledger: only one that is known to go on from the head that was co-signed before.

The co-signature rides up in the covers of the next bundles (`riding`). Rules W-8 and W-9 of docs/format/witness.md,
S-15 of docs/format/slip.md.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tidegate.clock import now
from tidegate.errors import SlipForkError, SlipMistypedError
from tidegate.files import host_error, make_folders, write_durably
from tidegate.ledger.cosignature import cosign
from tidegate.slip.proof import SlipProof
from tidegate.slip.slip import Slip
from tidegate_sender.slips.memory import Cosigned

if TYPE_CHECKING:
    from tidegate.workspace import Workspace

EVIDENCE_FOLDER = "evidence"


@dataclass(frozen=True, slots=True)
class CosigningPlan:
    """Whether a head may be co-signed now; else the size from which a proof is wanted, None where none is."""

    may_cosign: bool
    proof_from: int | None = None


def plan_cosigning(slip: Slip, proof: SlipProof | None, before: Cosigned | None) -> CosigningPlan:
    """Hold a slip's head against the one that was co-signed last.

    Raises SlipMistypedError for a proof that does not lead to the head, SlipForkError for one that leads to it from
    another root than was co-signed.
    """
    said = slip.statement
    if proof is not None and not proof.leads_to(said.size, said.root):
        raise SlipMistypedError(
            f"slip of {said.site}: its proof does not lead to a ledger of {said.size} entries",
            hint="is it the proof that was printed with this slip?",
        )
    if before is None:
        return CosigningPlan(may_cosign=True)
    if before.size == said.size and before.root == said.root.hex():
        return CosigningPlan(may_cosign=False)
    if proof is None or proof.size != before.size:
        return CosigningPlan(may_cosign=False, proof_from=before.size)
    if proof.root.hex() != before.root:
        raise SlipForkError(
            f"slip of {said.site}: its ledger of {said.size} entries does not go on from the {before.size}"
            " that were co-signed",
            hint="slip, proof and what was co-signed are kept under evidence/; call the site",
        )
    return CosigningPlan(may_cosign=True)


def make_cosigned(workspace: "Workspace", slip: Slip, note: bytes, vkey: str) -> Cosigned:
    """Co-sign the note of a slip with this side's ledger key."""
    said = slip.statement
    signed = cosign(note, workspace.origin, workspace.signer("ledger"), now())
    return Cosigned(vkey, said.size, said.root.hex(), signed.decode())


def keep_evidence(workspace: "Workspace", slip: Slip, proof: SlipProof, note: bytes, before: Cosigned) -> None:
    """Both heads and the proof that they are not of one ledger. Raises HostError."""
    said = slip.statement
    folder = workspace.root / EVIDENCE_FOLDER / f"slip-{said.site}-{said.size}-{said.root.hex()[:16]}"
    files = {"cosigned": before.note.encode(), "slip": note, "proof": proof.printed().encode()}
    try:
        make_folders(folder, mode=0o700)
        for name, data in files.items():
            if not (folder / name).exists():
                write_durably(folder / name, data, mode=0o400)
    except OSError as error:
        raise host_error(error, "keeping evidence") from None
