"""Whatever bytes come, parsers of trust end in a value or in one of our errors; and no mutation of a chain passes."""

import contextlib
import json
from collections.abc import Callable
from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate import canonical
from tidegate.errors import TidegateError
from tidegate.trust.envelope import MANIFEST_TYPE, join, pae, parse_detached, parse_envelope, sign_detached
from tidegate.trust.keys import FileSigner, build_key_file, open_key_file
from tidegate.trust.payload import parse_root
from tidegate.trust.root import Chain, continue_chain, parse_chain, read_chain_id
from tidegate.trust.rotation import create_channel_root, replace_key, rotate
from tidegate.trust.words import check_fingerprint, fingerprint_words

CREATED = 1_767_225_600  # 2026-01-01T00:00:00Z


def signer(number: int, holder: str) -> FileSigner:
    return FileSigner(bytes([number]) * 32, holder)


@cache
def chain() -> Chain:
    """Three versions; two root keys sign though one would do, so that nothing superfluous may pass unnoticed."""
    signers = {
        "root": [signer(1, "ben"), signer(2, "carla")],
        "release": [signer(3, "dora")],
        "carrier": [signer(4, "link")],
        "ledger": [signer(5, "log")],
    }
    first = create_channel_root("plant", ["plant-7"], signers, CREATED)
    second = replace_key(first, signer(3, "").key_id, signer(6, "dora"), signers["root"], CREATED)
    return rotate(second, signers["root"], CREATED, epoch=2)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
ANY_BYTES = st.binary(max_size=300) | JSON.map(lambda value: json.dumps(value).encode())


def ends_well(parse: Callable[[bytes], object], data: bytes) -> None:
    with contextlib.suppress(TidegateError):
        parse(data)


@settings(deadline=None)
@given(ANY_BYTES)
def test_any_bytes_into_the_parsers_end_in_a_value_or_one_of_our_errors(data: bytes) -> None:
    for parse in (parse_chain, read_chain_id, parse_detached, open_key_file):
        ends_well(parse, data)
    ends_well(parse_chain, data + b"\n")
    ends_well(lambda given: parse_envelope(given, what="envelope", max_bytes=1000), data)
    ends_well(lambda given: continue_chain(chain(), given + b"\n"), data)


@settings(deadline=None)
@given(st.data())
def test_any_field_of_a_root_replaced_by_any_value_ends_in_a_value_or_one_of_our_errors(data: st.DataObject) -> None:
    plain = json.loads(chain().newest.to_bytes())
    field = data.draw(st.sampled_from(sorted(plain)))
    plain[field] = data.draw(JSON)
    ends_well(lambda given: parse_root(given, "root"), json.dumps(plain).encode())
    try:
        strict = canonical.dumps(plain)
    except (ValueError, TypeError):
        return
    ends_well(lambda given: parse_root(given, "root"), strict)


@settings(deadline=None)
@given(st.data())
def test_any_field_of_a_key_file_replaced_by_any_value_ends_in_a_signer_or_one_of_our_errors(
    data: st.DataObject,
) -> None:
    plain = json.loads(build_key_file(signer(1, "ben")))
    plain[data.draw(st.sampled_from([*sorted(plain), "locked"]))] = data.draw(JSON)
    ends_well(open_key_file, json.dumps(plain, separators=(",", ":"), sort_keys=True).encode())


def refused(data: bytes) -> bool:
    try:
        parse_chain(data)
    except TidegateError:
        return True
    return False


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_chain_with_one_byte_changed_is_refused(data: st.DataObject) -> None:
    good = chain().to_bytes()
    place = data.draw(st.integers(0, len(good) - 1))
    value = data.draw(st.integers(0, 255).filter(lambda byte: byte != good[place]))
    assert refused(good[:place] + bytes([value]) + good[place + 1 :])


@settings(deadline=None)
@given(st.data())
def test_a_chain_with_bytes_cut_out_or_put_in_is_refused(data: st.DataObject) -> None:
    good = chain().to_bytes()
    start = data.draw(st.integers(0, len(good) - 1))
    end = data.draw(st.integers(start, min(len(good), start + 40)))
    new = data.draw(st.binary(max_size=40))
    bad = good[:start] + new + good[end:]
    # What remains of whole versions is an older chain, and no mutation.
    if not good.startswith(bad):
        assert refused(bad)


@settings(deadline=None)
@given(st.permutations(range(3)), st.lists(st.integers(0, 2), max_size=4))
def test_lines_in_another_order_repeated_or_left_out_are_refused(order: list[int], picked: list[int]) -> None:
    lines = chain().to_bytes().splitlines(keepends=True)
    for choice in (list(order), picked):
        is_a_beginning = choice == list(range(len(choice))) and len(choice) > 0
        assert refused(b"".join(lines[number] for number in choice)) is not is_a_beginning


@settings(deadline=None)
@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3))
def test_following_a_chain_from_any_stored_version_by_any_part_ends_at_the_newest(
    stored: int, first: int, last: int
) -> None:
    whole = chain()
    known = Chain(whole.roots[:stored], whole.envelopes[:stored], whole.channel_id)
    lines = whole.to_bytes().splitlines(keepends=True)[first - 1 : last]
    if first <= last and first <= stored:
        followed = continue_chain(known, b"".join(lines))
        assert followed.newest.version == max(stored, last)
    elif lines:
        ends_well(lambda given: continue_chain(known, given), b"".join(lines))


@settings(deadline=None)
@given(st.text(max_size=40), st.binary(max_size=200))
def test_pae_takes_two_different_pairs_to_different_bytes(kind: str, payload: bytes) -> None:
    encoded = pae(kind, payload)
    name, rest = encoded.removeprefix(b"DSSEv1 ").split(b" ", 1)
    assert rest[: int(name)] == kind.encode()
    size, body = rest[int(name) + 1 :].split(b" ", 1)
    assert (int(size), body) == (len(payload), payload)


@settings(deadline=None)
@given(st.binary(max_size=200), st.sets(st.integers(1, 40), min_size=1, max_size=8))
def test_what_is_signed_reads_back_and_joins_to_an_envelope_with_its_payload(payload: bytes, who: set[int]) -> None:
    signers = [signer(number, "ben") for number in who]
    detached = parse_detached(sign_detached(payload, MANIFEST_TYPE, signers))
    whole = parse_envelope(join(detached, payload), what="envelope", max_bytes=65536)
    assert whole.payload == payload
    assert whole.signatures == detached.signatures
    assert len(whole.signatures) == len(who)


@settings(deadline=None)
@given(st.binary(min_size=32, max_size=32), st.text(max_size=60))
def test_a_fingerprint_takes_its_own_words_and_no_other_text(identity: bytes, text: str) -> None:
    channel_id = identity.hex()
    check_fingerprint(channel_id, fingerprint_words(channel_id))
    try:
        check_fingerprint(channel_id, text)
    except TidegateError:
        return
    raise AssertionError(f"{text!r} passed as fingerprint of {channel_id}")
