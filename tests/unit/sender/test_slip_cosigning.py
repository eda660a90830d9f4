"""Co-signing heads of a site's ledger: only what goes on from what was co-signed before, and forks are kept."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledgers import slow_root
from made_roots import low_side

from tidegate.errors import SlipForkError, SlipMistypedError
from tidegate.ledger.checkpoint import NoteKey, open_checkpoint
from tidegate.ledger.cosignature import CosignerKey, open_cosigned
from tidegate.ledger.merkle import leaf_hash, subtree_root
from tidegate.ledger.proofs import consistency_path
from tidegate.slip import base32
from tidegate.slip.numbers import NO_NUMBERS, NONE
from tidegate.slip.proof import NODES_MAX, SlipProof, split_proof
from tidegate.slip.site_keys import SiteKeys, forget_witnessed
from tidegate.slip.slip import Statement, held_sum, sign_slip
from tidegate.trust.keys import FileSigner
from tidegate.workspace import Workspace
from tidegate_sender.riding import ledger_pieces
from tidegate_sender.slips.memory import get_cosigned
from tidegate_sender.slips.reading import SlipReport, read_slip

SITE = "plant-7"
SIGNER = FileSigner(bytes(range(32)), "ann")
OWN = (NoteKey(f"{SITE}/high", SIGNER.public),)


def entry(number: int, word: str) -> bytes:
    return f"{word if number > 2 else 'entry'} {number}".encode()


def root(size: int, word: str = "entry") -> bytes:
    return slow_root([entry(number, word) for number in range(size)])


def make_proof(old: int, size: int, word: str = "entry") -> SlipProof:
    def read(level: int, index: int) -> bytes:
        return subtree_root([leaf_hash(entry(n, word)) for n in range(index << level, (index + 1) << level)])

    return SlipProof(old, root(old, word), consistency_path(old, size, read))


class Office:
    """A low side, and slips of a site that holds nothing, under the heads of its ledger."""

    def __init__(self, folder: Path) -> None:
        self.workspace: Workspace = low_side(folder, sites=(SITE,))
        self.channel = self.workspace.trust.own_channel().channel_id
        SiteKeys(self.workspace.folder("trust")).pin(OWN[0])

    def slip(self, size: int, word: str = "entry") -> str:
        said = Statement(
            SITE, self.channel[:4], 1, NO_NUMBERS, NO_NUMBERS, held_sum([]), None, size, root(size, word), NONE
        )
        return sign_slip(said, self.channel, SIGNER).text()

    def read(self, size: int, proof: SlipProof | None = None, word: str = "entry") -> SlipReport:
        text = self.slip(size, word)
        return read_slip(self.workspace, text if proof is None else f"{text}/{proof.text()}")

    def cosigned(self) -> tuple[int, str]:
        """Size and root of the head that was co-signed last, both signatures verified."""
        with self.workspace.state.reading() as tx:
            found = get_cosigned(tx, SITE)
        assert found is not None
        name = self.workspace.origin
        witness = NoteKey(name, self.workspace.signer("ledger").public)
        checkpoint, key, time = open_cosigned(found.note.encode(), OWN, (witness,))
        assert key == OWN[0]
        assert time > 1_700_000_000
        assert str(CosignerKey(name, witness.public)).startswith(f"{name}+")
        return checkpoint.size, checkpoint.root.hex()


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path)


def test_the_first_head_is_co_signed_and_rides_in_the_next_cover(office: Office) -> None:
    assert office.read(5).is_cosigned
    assert office.cosigned() == (5, root(5).hex())
    pieces, _ = ledger_pieces(office.workspace, (SITE,), 0)
    notes = [piece.data for piece in pieces if piece.type == 5]
    assert [open_checkpoint(note, OWN[0]).size for note in notes] == [5]
    pieces, _ = ledger_pieces(office.workspace, ("plant-8",), 0)
    assert [piece.type for piece in pieces if piece.type == 5] == []  # another site learns nothing of it


def test_a_later_head_is_co_signed_with_a_proof_and_only_remembered_without(office: Office) -> None:
    office.read(5)
    bare = office.read(9)
    assert (bare.is_new, bare.is_cosigned, bare.proof_from) == (True, False, 5)
    assert office.cosigned()[0] == 5
    later = office.read(9, make_proof(5, 9))  # the same slip, now with its proof
    assert (later.is_new, later.is_cosigned) == (False, True)
    assert office.cosigned() == (9, root(9).hex())
    again = office.read(9, make_proof(5, 9))
    assert (again.is_new, again.is_cosigned, again.proof_from) == (False, False, None)


def test_a_proof_from_another_head_than_was_co_signed_is_not_enough(office: Office) -> None:
    office.read(5)
    done = office.read(9, make_proof(4, 9))
    assert (done.is_cosigned, done.proof_from) == (False, 5)


def test_a_proof_of_another_slip_is_refused_and_nothing_of_the_slip_is_taken(office: Office) -> None:
    office.read(5)
    with pytest.raises(SlipMistypedError, match="does not lead to"):
        office.read(9, make_proof(5, 8))
    assert office.read(8, make_proof(5, 8)).is_cosigned  # so 9 was not remembered


def test_a_ledger_that_does_not_go_on_from_what_was_co_signed_is_a_fork_and_is_kept(office: Office) -> None:
    office.read(5)
    with pytest.raises(SlipForkError, match="does not go on from the 5"):
        office.read(9, make_proof(5, 9, "other"), "other")
    (folder,) = (office.workspace.root / "evidence").iterdir()
    sides = [open_checkpoint((folder / name).read_bytes(), OWN[0]) for name in ("cosigned", "slip")]
    assert [(side.size, side.root) for side in sides] == [(5, root(5)), (9, root(9, "other"))]
    assert split_proof((folder / "proof").read_text())[1] == make_proof(5, 9, "other")
    assert office.cosigned()[0] == 5


def test_a_dry_run_co_signs_and_keeps_nothing(office: Office) -> None:
    done = read_slip(office.workspace, office.slip(5), dry_run=True)
    assert done.is_cosigned
    with office.workspace.state.reading() as tx:
        assert get_cosigned(tx, SITE) is None


def test_whoever_pins_a_sites_key_again_begins_anew(office: Office) -> None:
    office.read(5)
    with office.workspace.state.transaction() as tx:
        forget_witnessed(tx, SITE)
    assert office.read(3, word="other").is_cosigned


# --- the lines of a proof ---------------------------------------------------------------------


@given(
    st.integers(1, 2**53 - 1),
    st.binary(min_size=32, max_size=32),
    st.lists(st.binary(min_size=32, max_size=32), max_size=5),
)
def test_a_proof_reads_back_as_it_was_written(size: int, start: bytes, path: list[bytes]) -> None:
    proof = SlipProof(size, start, tuple(path))
    for text in (proof.text(), proof.printed(), proof.text().lower()):
        assert split_proof(f"SLIP 1/{text}") == ("SLIP 1", proof)


def test_every_wrong_letter_in_every_position_of_a_proof_is_found() -> None:
    text = make_proof(5, 9).text()
    for at, letter in enumerate(text):
        for other in "0Z/ " if letter not in "0Z" else "1X/ ":
            changed = text[:at] + other + text[at + 1 :]
            if base32.plain(" ".join(changed.split())) == base32.plain(text) or other == letter:
                continue
            try:
                found = split_proof(f"SLIP 1/{changed}")
            except SlipMistypedError:
                continue
            # A proof that is not recognised as one stays with the slip, which refuses a line that it does not know.
            assert found[1] is None or found[1] == make_proof(5, 9), (at, letter, other)


@given(st.text(alphabet="PROFNDE 019AZX/\n", max_size=300))
def test_any_text_after_a_slip_is_a_proof_or_mistyped(text: str) -> None:
    try:
        split_proof(f"SLIP 1/PROOF {text}")
    except SlipMistypedError:
        return


def test_a_proof_has_limits() -> None:
    long = SlipProof(5, bytes(32), (bytes(32),) * (NODES_MAX + 1))
    with pytest.raises(SlipMistypedError, match="the limit is 64"):
        split_proof(f"SLIP 1/{long.text()}")
    with pytest.raises(SlipMistypedError, match="8192"):
        split_proof("S" * 8193)
    with pytest.raises(SlipMistypedError):
        split_proof("SLIP 1/PROOF 99999999999999999999 " + "0" * 52)
