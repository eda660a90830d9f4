"""The token of a medium: every vector, keys of older and of revoked versions, and where a medium's look finds it."""

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from tidegate.carrier.medium import find_volumes
from tidegate.carrier.token import MediumToken, TokenState, build_token, judge_token, key_of, valid_label
from tidegate.trust.keys import FileSigner
from tidegate.trust.root import Chain
from tidegate.trust.rotation import create_channel_root, replace_key

VECTORS = Path(__file__).parents[2] / "vectors" / "token"
EXPECTED = json.loads((VECTORS / "expected.json").read_text(encoding="utf-8"))
CHANNEL = EXPECTED["channel"]
CREATED = 1_767_225_600
CARRIER = FileSigner(bytes(range(32)), "link")
TOKEN = MediumToken(
    1,
    CHANNEL,
    "STICK-07",
    "000102030405060708090a0b0c0d0e0f",
    3,
    registered="2026-01-31T08:00:00Z",
    written="2026-02-07T08:00:00Z",
)


def key(number: int) -> FileSigner:
    return FileSigner(bytes([number]) * 32, "ben")


@cache
def chain() -> Chain:
    """A root whose carrier key is that of the vectors, under their channel_id."""
    signers = {"root": [key(1)], "release": [key(2)], "carrier": [CARRIER], "ledger": [key(3)]}
    return replace(create_channel_root("plant", ["plant-7"], signers, CREATED), channel_id=CHANNEL)


def vector(name: str) -> bytes:
    return (VECTORS / f"{name}.tgm").read_bytes()


@pytest.mark.parametrize("name", EXPECTED["vectors"])
def test_each_vector_is_judged_as_the_format_says(name: str) -> None:
    judged = judge_token(vector(name), (chain(),))
    assert judged.state == EXPECTED["vectors"][name]["answer"]
    assert (judged.token is not None) == (judged.state is TokenState.GOOD)
    assert judged.reason.isprintable()
    assert bool(judged.reason) == (judged.token is None)


def test_every_file_of_the_vectors_is_listed() -> None:
    assert {path.stem for path in VECTORS.glob("*.tgm")} == set(EXPECTED["vectors"])


def test_the_writer_gives_the_bytes_of_the_example() -> None:
    assert build_token(TOKEN, CARRIER) == vector("ok_example")
    assert key_of(vector("ok_example")) == CARRIER.key_id


def test_a_token_from_before_a_rotation_still_counts() -> None:
    first = create_channel_root("plant", ["plant-7"], _signers(), CREATED)
    later = replace_key(first, CARRIER.key_id, key(9), [key(1)], CREATED, revoke=False)
    data = build_token(replace(TOKEN, channel=first.channel_id), CARRIER)
    assert CARRIER.key_id not in later.newest.role_keys("carrier")
    assert judge_token(data, (later,)).state is TokenState.GOOD


def test_a_token_of_a_revoked_key_does_not_count() -> None:
    first = create_channel_root("plant", ["plant-7"], _signers(), CREATED)
    later = replace_key(first, CARRIER.key_id, key(9), [key(1)], CREATED)
    data = build_token(replace(TOKEN, channel=first.channel_id), CARRIER)
    assert judge_token(data, (first,)).state is TokenState.GOOD
    assert judge_token(data, (later,)).state is TokenState.FORGED


def _signers() -> dict[str, list[FileSigner]]:
    return {"root": [key(1)], "release": [key(2)], "carrier": [CARRIER], "ledger": [key(3)]}


@pytest.mark.parametrize("label", ["A", "stick.7_b-c", "7" * 32])
def test_good_labels(label: str) -> None:
    assert valid_label(label)


@pytest.mark.parametrize("label", ["", "-a", "a b", "a/b", "ä", "a\n", "7" * 33, "\x1b[31m"])
def test_bad_labels(label: str) -> None:
    assert not valid_label(label)


# --- on a medium ------------------------------------------------------------------------------


def put(medium: Path, data: bytes, name: str = "TIDEGATE/MEDIUM.TGM") -> None:
    path = medium / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


@pytest.mark.parametrize("name", ["TIDEGATE/MEDIUM.TGM", "tidegate/medium.tgm"])
def test_the_token_of_a_medium_is_neither_a_stranger_nor_damaged(tmp_path: Path, name: str) -> None:
    put(tmp_path, vector("ok_example"), name)
    contents = find_volumes(tmp_path)
    assert (contents.token, contents.strangers, contents.damaged) == (vector("ok_example"), (), ())


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("TIDEGATE/MEDIUM.TGM", b"MZ this is a program"),
        ("TIDEGATE/MEDIUM.TGM", b"{" * 5000),
        ("TIDEGATE/0123abcd/MEDIUM.TGM", None),
        ("TIDEGATE/OTHER.TGM", None),
        ("MEDIUM.TGM", None),
    ],
)
def test_what_is_no_token_or_lies_elsewhere_is_a_stranger(tmp_path: Path, name: str, data: bytes | None) -> None:
    put(tmp_path, data or vector("ok_example"), name)
    contents = find_volumes(tmp_path)
    assert (contents.token, contents.strangers) == (None, (name,))


def test_a_link_of_the_tokens_name_is_not_followed(tmp_path: Path) -> None:
    put(tmp_path, vector("ok_example"), "elsewhere")
    (tmp_path / "TIDEGATE").mkdir()
    (tmp_path / "TIDEGATE" / "MEDIUM.TGM").symlink_to("../elsewhere")
    contents = find_volumes(tmp_path)
    assert contents.token is None
    assert "TIDEGATE/MEDIUM.TGM@" in contents.strangers
