"""The key that signs a site's slips, as one line that a person types on the low side, and the words that vouch for it.

``SITE PLANT-7 <52 letters> <check>``. The key is that of the site's ledger, whose name in signed notes is
``<site>/high``. Rule S-8 of docs/format/slip.md.
"""

import re
from hashlib import sha256

from tidegate.errors import SlipMistypedError
from tidegate.ledger.checkpoint import NoteKey
from tidegate.names import NAME
from tidegate.slip import base32

WORD = "SITE"
KEY_BYTES = 32
ORIGIN_ENDING = "/high"
INPUT_MAX_CHARACTERS = 512


def site_of(key: NoteKey) -> str:
    return key.name.removesuffix(ORIGIN_ENDING)


def build_site_key(key: NoteKey) -> str:
    """The line, with its letters in groups of four."""
    letters = base32.encode(key.public)
    check = base32.check_of(f"{WORD} {site_of(key).upper()} {letters}")
    groups = (letters[at : at + 4] for at in range(0, len(letters), 4))
    return " ".join([WORD, site_of(key).upper(), *groups, check])


def parse_site_key(text: str) -> NoteKey:
    """Raises SlipMistypedError for any other text than `build_site_key` makes, but for spaces, case and look-alikes."""
    words = text[: INPUT_MAX_CHARACTERS + 1].upper().split()
    if len(text) > INPUT_MAX_CHARACTERS or not text.isascii() or len(words) < 3 or words[0] != WORD:
        raise SlipMistypedError("site key: is no line that begins with SITE and the site's name")
    site, joined = words[1], base32.plain("".join(words[2:]))
    letters, check = joined[: -base32.CHECK_LETTERS], joined[-base32.CHECK_LETTERS :]
    if not re.match(NAME, site.lower()) or check != base32.check_of(f"{WORD} {site} {letters}"):
        raise SlipMistypedError("site key: something in it is mistyped")
    return NoteKey(site.lower() + ORIGIN_ENDING, base32.decode(letters, KEY_BYTES))


def fingerprint_id(key: NoteKey) -> str:
    """The hex that the twelve words of a site's key are made of (`trust.words`)."""
    return sha256(str(key).encode()).hexdigest()
