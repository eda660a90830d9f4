"""The slip under typing errors and arbitrary text: every single mistake is found, and only our errors are raised."""

import contextlib
import json
import string
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.errors import SlipError, SlipMistypedError
from tidegate.slip import base32
from tidegate.slip.code import Code, is_code, parse_code
from tidegate.slip.numbers import NUMBER_MAX, Numbers
from tidegate.slip.site_key import parse_site_key
from tidegate.slip.slip import SLIP_MAX_BYTES, Statement, fit, parse_slip, sign_slip
from tidegate.trust.keys import FileSigner

VECTORS = Path(__file__).parents[1] / "vectors" / "slip"
EXAMPLE = json.loads((VECTORS / "slips.json").read_text())[0]["text"]
CODE = json.loads((VECTORS / "codes.json").read_text())[0]["text"]
SITE_KEY = json.loads((VECTORS / "site-keys.json").read_text())[0]["text"]
TYPED = string.ascii_letters + string.digits + string.punctuation + " \n\t"
SIGNER = FileSigner(bytes(range(32)), "ann")
numbers = st.integers(1, NUMBER_MAX)


@pytest.mark.parametrize("printed", [False, True], ids=["bytes", "printed"])
def test_every_wrong_character_in_every_position_of_a_slip_is_found(printed: bool) -> None:
    slip = parse_slip(EXAMPLE)
    text = slip.printed() if printed else EXAMPLE
    for at in range(len(text)):
        for letter in TYPED:
            # What is read as the same slip (a small letter, O for 0, another kind of space) is no mistake.
            with contextlib.suppress(SlipMistypedError):
                assert parse_slip(text[:at] + letter + text[at + 1 :]) == slip, (at, letter)


def test_every_letter_left_out_doubled_or_swapped_in_a_slip_is_found() -> None:
    slip = parse_slip(EXAMPLE)
    for at in range(len(EXAMPLE) - 1):
        pair = EXAMPLE[at + 1] + EXAMPLE[at]
        for typed in (
            EXAMPLE[:at] + EXAMPLE[at + 1 :],
            EXAMPLE[: at + 1] + EXAMPLE[at:],
            EXAMPLE[:at] + pair + EXAMPLE[at + 2 :],
        ):
            with contextlib.suppress(SlipMistypedError):
                assert parse_slip(typed) == slip, (at, typed)


@pytest.mark.parametrize("number", [1, 192, 9999, 10000, 1234567])
def test_every_wrong_character_and_every_swap_in_a_code_is_found(number: int) -> None:
    code = replace(parse_code(CODE), sequence=number)
    text = str(code)
    for at in range(len(text)):
        typed = [text[:at] + letter + text[at + 1 :] for letter in TYPED]
        typed.append(text[:at] + text[at : at + 2][::-1] + text[at + 2 :])
        for item in typed:
            with contextlib.suppress(SlipMistypedError):
                assert parse_code(item) == code, item


def test_every_wrong_character_in_a_site_key_is_found() -> None:
    key = parse_site_key(SITE_KEY)
    for at in range(len(SITE_KEY)):
        for letter in TYPED:
            with contextlib.suppress(SlipMistypedError):
                assert parse_site_key(SITE_KEY[:at] + letter + SITE_KEY[at + 1 :]) == key, (at, letter)


@given(
    st.text(max_size=500) | st.lists(st.sampled_from([*EXAMPLE.split("/"), "", "/", "HELD"]), max_size=12).map("/".join)
)
def test_any_text_is_a_slip_or_one_of_our_errors(text: str) -> None:
    for read in (parse_slip, parse_code, parse_site_key, Numbers.parse, is_code):
        with contextlib.suppress(SlipError):
            read(text)


@given(st.integers(0, 7), st.text(alphabet=TYPED, max_size=60))
def test_any_values_under_a_right_check_are_a_slip_or_one_of_our_errors(at: int, values: str) -> None:
    lines = EXAMPLE.split("/")
    line = f"{lines[at].split(' ')[0]} {' '.join(values.upper().replace('/', ' ').split())}"
    lines[at] = f"{line} {base32.check_of(line)}"
    with contextlib.suppress(SlipError):
        parse_slip("/".join(lines))


@given(st.binary(max_size=80))
def test_letters_give_back_the_bytes(data: bytes) -> None:
    assert base32.decode(base32.encode(data), len(data)) == data


@given(st.sets(numbers, max_size=40))
def test_numbers_read_back_as_they_were_written(found: set[int]) -> None:
    made = Numbers.of(found)
    assert Numbers.parse(str(made)) == made
    assert (set(made), len(made), made.highest) == (found, len(found), max(found, default=0))


@given(
    st.sets(st.integers(1, 3000), max_size=300),
    st.sets(st.integers(1, 3000), max_size=300),
    st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=64),
)
def test_a_slip_always_fits_and_claims_only_what_is_held(held: set[int], missing: set[int], site: str) -> None:
    missing -= held
    ids = {number: f"{number:064x}" for number in held}
    said = Statement(
        site, "7f3a", 9999, Numbers.of(held), Numbers.of(missing), "", None, 10**12, bytes(32), "2026-01-31"
    )
    slip = sign_slip(fit(said, ids, lambda number: Code("7f3a", number, "00000")), "7f3a" * 16, SIGNER)
    assert len(slip.text()) <= SLIP_MAX_BYTES
    assert set(slip.statement.held) <= held
    assert set(slip.statement.missing) <= missing
