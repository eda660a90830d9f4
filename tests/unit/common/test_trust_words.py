"""Fingerprints in words (docs/format/trust.md, T-41)."""

import pytest

from tidegate.errors import FingerprintError
from tidegate.trust.words import check_fingerprint, fingerprint_words

ZERO = "00" * 32
#: BIP-39's own test vector for 16 bytes of zero
ZERO_WORDS = "abandon " * 11 + "about"


def test_the_words_are_the_bip_39_mnemonic_of_the_first_16_bytes() -> None:
    assert fingerprint_words(ZERO) == ZERO_WORDS
    assert fingerprint_words("7f" * 16 + "00" * 16) == (
        "legal winner thank year wave sausage worth useful legal winner thank yellow"
    )


@pytest.mark.parametrize("typed", [ZERO_WORDS, ZERO_WORDS.upper(), ZERO_WORDS.replace(" ", "-"), f"\n {ZERO_WORDS},\t"])
def test_check_fingerprint_takes_any_case_and_separator(typed: str) -> None:
    check_fingerprint(ZERO, typed)


@pytest.mark.parametrize("typed", ["", "abandon " * 10 + "about", ZERO_WORDS + " about", "abandon"])
def test_check_fingerprint_wants_twelve_words(typed: str) -> None:
    with pytest.raises(FingerprintError, match="12 words"):
        check_fingerprint(ZERO, typed)


def test_check_fingerprint_says_which_words_differ_and_not_what_they_should_be() -> None:
    with pytest.raises(FingerprintError, match="1, 12 of 12 differ") as caught:
        check_fingerprint(ZERO, "zoo " + "abandon " * 10 + "zoo")
    assert "abandon" not in str(caught.value)


def test_check_fingerprint_helps_with_a_misspelt_word() -> None:
    with pytest.raises(FingerprintError, match="word 12, 'abuot', is not in the list of words; did you mean 'about'"):
        check_fingerprint(ZERO, "abandon " * 11 + "abuot")
