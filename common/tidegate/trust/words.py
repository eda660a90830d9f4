"""A chain's fingerprint as twelve words, which two people compare by voice.

The words are the BIP-39 mnemonic (English) of the first 128 bits of the channel id: in its list no two words share
their first four letters. Format: docs/format/trust.md, "Fingerprint".
"""

import difflib
import re

from tidegate.errors import FingerprintError

FINGERPRINT_BYTES = 16
WORD_COUNT = 12
_SEPARATORS = re.compile(r"[\s,\-]+")


def fingerprint_words(channel_id: str) -> str:
    """Twelve words, separated by spaces."""
    from mnemonic import Mnemonic

    return str(Mnemonic("english").to_mnemonic(bytes.fromhex(channel_id)[:FINGERPRINT_BYTES]))


def check_fingerprint(channel_id: str, typed: str) -> None:
    """Compare typed words with the channel's; raises FingerprintError, which never shows the words that were due."""
    words = [word for word in _SEPARATORS.split(typed.casefold()) if word]
    expected = fingerprint_words(channel_id).split()
    if len(words) != WORD_COUNT:
        raise FingerprintError(f"the fingerprint has {WORD_COUNT} words, {len(words)} were given")
    _check_spelling(words)
    wrong = [
        str(number) for number, pair in enumerate(zip(words, expected, strict=True), start=1) if pair[0] != pair[1]
    ]
    if wrong:
        raise FingerprintError(f"the words do not belong to this key: {', '.join(wrong)} of {WORD_COUNT} differ")


def _check_spelling(words: list[str]) -> None:
    from mnemonic import Mnemonic

    known = Mnemonic("english").wordlist
    for number, word in enumerate(words, start=1):
        if word not in known:
            close = difflib.get_close_matches(word, known, n=1)
            meant = f"; did you mean {close[0]!r}?" if close else ""
            raise FingerprintError(f"word {number}, {word!r}, is not in the list of words{meant}")
