"""Whatever bytes lie in a token file, looking ends in an answer; nothing but the carrier key makes a good one."""

import base64
import json
from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.carrier.token import TOKEN_TYPE, MediumToken, TokenState, build_token, judge_token, key_of
from tidegate.ledger.entries import Medium
from tidegate.media.sighting import sight
from tidegate.state.media import MediumRow, MediumState
from tidegate.trust.envelope import sign_envelope
from tidegate.trust.keys import FileSigner
from tidegate.trust.root import Chain
from tidegate.trust.rotation import create_channel_root

CARRIER = FileSigner(bytes(range(32)), "link")
TIME = "2026-01-31T08:00:00Z"


@cache
def chain() -> Chain:
    other = {role: [FileSigner(bytes([n]) * 32, "ben")] for n, role in enumerate(("root", "release", "ledger"))}
    return create_channel_root("plant", ["plant-7"], {**other, "carrier": [CARRIER]}, 1_767_225_600)


def good(counter: int = 3, label: str = "STICK-07") -> bytes:
    token = MediumToken(1, chain().channel_id, label, "ab" * 16, counter, registered=TIME, written=TIME)
    return build_token(token, CARRIER)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(st.binary(max_size=300) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_end_in_an_answer_and_never_in_a_good_token(data: bytes) -> None:
    judged = judge_token(data, (chain(),))
    assert judged.state is not TokenState.GOOD
    assert judged.token is None
    assert isinstance(key_of(data), str)


@settings(deadline=None)
@given(st.data())
def test_a_changed_byte_never_leaves_a_good_token(data: st.DataObject) -> None:
    raw = bytearray(good())
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] ^= data.draw(st.integers(1, 255))
    assert judge_token(bytes(raw), (chain(),)).state is not TokenState.GOOD


@settings(deadline=None)
@given(st.data())
def test_any_field_that_the_key_itself_signed_ends_in_a_token_within_its_limits_or_none(data: st.DataObject) -> None:
    plain = json.loads(base64.b64decode(json.loads(good())["payload"]))
    plain[data.draw(st.sampled_from([*sorted(plain), "more"]))] = data.draw(JSON)
    payload = json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()
    token = judge_token(sign_envelope(payload, TOKEN_TYPE, [CARRIER]).to_bytes(), (chain(),)).token
    assert token is None or (token.label.isascii() and token.label.isprintable() and token.counter >= 1)


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("AB"), st.booleans()), max_size=12))
def test_of_two_copies_one_is_found_as_soon_as_it_comes_after_the_other_was_written(
    steps: list[tuple[str, bool]],
) -> None:
    """A model of a stick and its clone: each step takes one of the two, writes it or not, and a reader looks at it."""
    counters = {"A": 1, "B": 1}
    row: MediumRow | None = None
    highest = 0
    for stick, is_written in steps:
        counters[stick] += is_written
        data = good(counters[stick])
        judged = judge_token(data, (chain(),))
        seen = sight(judged, row, Medium())
        assert bool(seen.alarms) == (counters[stick] < highest)
        if counters[stick] >= highest:
            highest = counters[stick]
            row = MediumRow("ab" * 16, "STICK-07", chain().channel_id, MediumState.HERE, highest, judged.digest, 1, 1)
