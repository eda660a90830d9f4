"""Text that a person types: Crockford's base32, which has no look-alikes, and a check that finds every single mistake.

The check is a CRC of 15 bits, three letters: it finds every change within 15 bits, so every wrong letter and every two
neighbours that were swapped, with certainty, and anything else but for one in 32768. Rules S-2 and S-3 of
docs/format/slip.md.
"""

from tidegate.errors import SlipMistypedError

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_VALUES = {letter: value for value, letter in enumerate(ALPHABET)}
#: what people write for a letter of the alphabet
_LOOK_ALIKES = str.maketrans("OIL", "011")
CHECK_LETTERS = 3
_POLYNOMIAL = 0x4599  # CRC-15/CAN
_START = 0x7FFF


def encode(data: bytes, letters: int | None = None) -> str:
    """`data` as base32, most significant bits first, filled with zero bits; only the first `letters` where given."""
    count = -(-len(data) * 8 // 5)
    number = int.from_bytes(data, "big") << (count * 5 - len(data) * 8)
    text = _letters(number, count)
    return text if letters is None else text[:letters]


def decode(text: str, length: int) -> bytes:
    """The `length` bytes that `text` stands for. Raises SlipMistypedError for any other text than `encode` makes."""
    count = -(-length * 8 // 5)
    if len(text) != count:
        raise SlipMistypedError(f"{len(text)} letters, {count} are due")
    number = 0
    for letter in text:
        number = number << 5 | _value(letter)
    spare = count * 5 - length * 8
    if number & ((1 << spare) - 1):
        raise SlipMistypedError(f"the last letter {text[-1]!r} cannot be the last")
    return (number >> spare).to_bytes(length, "big")


def plain(text: str) -> str:
    """Letters as the alphabet has them: large, and O, I, L as 0, 1, 1."""
    return text.upper().translate(_LOOK_ALIKES)


def check_of(text: str) -> str:
    """The three letters that follow `text`, which is ASCII."""
    register = _START
    for byte in text.encode("ascii"):
        register ^= byte << 7
        for _ in range(8):
            register = (register << 1) ^ (_POLYNOMIAL if register & 0x4000 else 0)
        register &= 0x7FFF
    return _letters(register, CHECK_LETTERS)


def _letters(number: int, count: int) -> str:
    return "".join(ALPHABET[number >> (5 * place) & 31] for place in reversed(range(count)))


def _value(letter: str) -> int:
    if letter not in _VALUES:
        raise SlipMistypedError(f"{letter!r} is not used here")
    return _VALUES[letter]
