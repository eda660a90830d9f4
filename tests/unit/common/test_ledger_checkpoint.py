"""Signed notes: rules L-8 to L-13, with C2SP's own example."""

import base64

import pytest
from ledgers import ORIGIN, SIGNER, slow_root

from tidegate.errors import FormatError, SignatureError
from tidegate.ledger.checkpoint import NoteKey, open_checkpoint, parse_vkey, read_unverified, sign_checkpoint
from tidegate.trust.keys import FileSigner, verify

KEY = NoteKey(ORIGIN, SIGNER.public)
ROOT = slow_root([b"a", b"bc"])
NOTE = sign_checkpoint(ORIGIN, 2, ROOT, SIGNER).data

#: c2sp.org/signed-note, "Example"
C2SP_VKEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
C2SP_TEXT = b"This is an example message.\n"
C2SP_SIGNATURE = "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM="


def signed(text: str, signer: FileSigner = SIGNER, name: str = ORIGIN) -> bytes:
    raw = NoteKey(name, signer.public).id + signer.sign(text.encode())
    return f"{text}\n— {name} {base64.b64encode(raw).decode()}\n".encode()


def text_of(*lines: str) -> str:
    return "".join(f"{line}\n" for line in lines)


def test_the_example_of_c2sp_verifies_with_its_key_and_key_id() -> None:
    key = parse_vkey(C2SP_VKEY)
    raw = base64.b64decode(C2SP_SIGNATURE)
    assert raw[:4] == key.id
    verify(key.public, C2SP_TEXT, raw[4:])


def test_l10_a_signed_checkpoint_is_the_note_of_the_document() -> None:
    assert NOTE.decode() == (
        "plant/low\n2\ny6wKHFRlhtGmDlq91uVhEhhzLhNB6S57hZNATg8Uqks=\n\n"
        "— plant/low 0p5Dj9kwg8/eNXbnhlziyT2Yk9qpsOF9VmtQTQVOFXBYCTCllwcEuYwv4pOnKcUAsLXrtVDdwk4kSZad1gK8jgu1YwE=\n"
    )
    assert str(KEY) == "plant/low+d29e438f+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4"


def test_open_checkpoint_gives_what_was_signed() -> None:
    found = open_checkpoint(NOTE, KEY)
    assert (found.origin, found.size, found.root, found.data) == (ORIGIN, 2, ROOT, NOTE)
    assert read_unverified(NOTE) == found


def test_l08_lines_after_the_root_hash_are_ignored() -> None:
    note = signed(text_of(ORIGIN, "2", base64.b64encode(ROOT).decode(), "an extension"))
    assert open_checkpoint(note, KEY).size == 2


def test_l12_lines_of_witnesses_are_skipped() -> None:
    witness = NOTE.decode() + "— witness.example/w " + base64.b64encode(bytes(80)).decode() + "\n"
    assert open_checkpoint(witness.encode(), KEY).size == 2


def test_l12_a_note_without_a_line_of_the_key_is_refused() -> None:
    other = FileSigner(bytes(32), "x")
    with pytest.raises(SignatureError, match="is not signed by plant/low"):
        open_checkpoint(sign_checkpoint(ORIGIN, 2, ROOT, other).data, KEY)


def test_l12_a_second_line_of_the_key_must_verify_too() -> None:
    bad = NOTE.decode() + f"— {ORIGIN} " + base64.b64encode(KEY.id + bytes(64)).decode() + "\n"
    with pytest.raises(SignatureError):
        open_checkpoint(bad.encode(), KEY)


def test_l12_a_signature_of_a_wrong_length_is_refused() -> None:
    text, _, _ = NOTE.decode().rpartition("\n\n")
    short = f"{text}\n\n— {ORIGIN} {base64.b64encode(KEY.id + bytes(3)).decode()}\n"
    with pytest.raises(SignatureError):
        open_checkpoint(short.encode(), KEY)


def test_l13_a_checkpoint_of_another_log_is_refused() -> None:
    note = signed(text_of("plant/high", "2", base64.b64encode(ROOT).decode()))
    with pytest.raises(FormatError, match="of the log 'plant/high', not of 'plant/low'"):
        open_checkpoint(note, KEY)


ROOT_TEXT = base64.b64encode(ROOT).decode()


@pytest.mark.parametrize(
    "lines",
    [
        (ORIGIN, "2"),
        (ORIGIN, "02", ROOT_TEXT),
        (ORIGIN, "-2", ROOT_TEXT),
        (ORIGIN, "٢", ROOT_TEXT),
        (ORIGIN, str(2**53), ROOT_TEXT),
        (ORIGIN, "9" * 5000, ROOT_TEXT),
        (ORIGIN, "2", ROOT_TEXT[:-1]),
        (ORIGIN, "2", ROOT_TEXT[:-2] + "t="),
        (ORIGIN, "2", base64.b64encode(bytes(31)).decode()),
        (ORIGIN, "", ROOT_TEXT),
        ("", "2", ROOT_TEXT),
    ],
)
def test_l08_a_text_that_is_no_checkpoint_is_refused(lines: tuple[str, ...]) -> None:
    with pytest.raises(FormatError):
        open_checkpoint(signed(text_of(*lines)), KEY)


@pytest.mark.parametrize(
    "note",
    [
        b"",
        b"\n\n",
        NOTE[:-1],
        NOTE.replace(b"\n\n", b"\n"),
        NOTE.replace("— ".encode(), b"- "),
        NOTE.replace(b"plant/low\n2", b"plant/low\r\n2"),
        b"\xff" + NOTE,
        NOTE + b"\n",
        NOTE + b"x" * 70_000,
        NOTE + "— w AAAAAAA=\n".encode() * 100,
        NOTE.replace("— plant/low ".encode(), "— plant\N{NO-BREAK SPACE}low ".encode()),
        NOTE.replace("— plant/low ".encode(), "— plant+low ".encode()),
    ],
)
def test_l09_l11_what_is_no_signed_note_is_refused(note: bytes) -> None:
    with pytest.raises(FormatError):
        open_checkpoint(note, KEY)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "plant/low",
        "plant/low+d29e438f",
        "plant/low+00000000+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4",
        "plant/low+d29e438f+BAOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4",
        "plant low+d29e438f+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4",
        "x" * 2000,
    ],
)
def test_parse_vkey_refuses_what_is_no_key_of_this_type(text: str) -> None:
    with pytest.raises(FormatError):
        parse_vkey(text)


def test_parse_vkey_reads_what_a_key_writes() -> None:
    assert parse_vkey(f"{KEY}\n") == KEY
