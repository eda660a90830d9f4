"""DSSE envelopes, whole and detached (docs/format/trust.md, T-1 and T-8 to T-12)."""

import base64
import json

import pytest

from tidegate import canonical
from tidegate.errors import FormatError
from tidegate.trust.envelope import (
    DETACHED_MAX_BYTES,
    MANIFEST_TYPE,
    join,
    pae,
    parse_detached,
    parse_envelope,
    sign_detached,
    sign_envelope,
)
from tidegate.trust.keys import FileSigner, verify

BEN, CARLA = FileSigner(b"\x01" * 32, "ben"), FileSigner(b"\x02" * 32, "carla")


def detached_json() -> dict[str, list[dict[str, str]]]:
    plain = json.loads(sign_detached(b"{}", MANIFEST_TYPE, [BEN, CARLA]))
    assert isinstance(plain, dict)
    return plain


@pytest.mark.parametrize(
    ("payload_type", "payload", "encoded"),
    [
        ("http://example.com/HelloWorld", b"hello world", b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"),
        ("", b"", b"DSSEv1 0  0 "),
        ("http://example.com/\u00e9", "\u00e9".encode(), b"DSSEv1 21 http://example.com/\xc3\xa9 2 \xc3\xa9"),
        ("a 1 b", b" 1 ", b"DSSEv1 5 a 1 b 3  1 "),
    ],
)
def test_pae_is_that_of_the_dsse_specification(payload_type: str, payload: bytes, encoded: bytes) -> None:
    assert pae(payload_type, payload) == encoded


def test_sign_detached_sorts_by_key_id_and_its_signatures_hold_over_the_pae() -> None:
    envelope = parse_detached(sign_detached(b"{}", MANIFEST_TYPE, [BEN, CARLA]))
    assert envelope.payload_type == MANIFEST_TYPE
    assert [item.key_id for item in envelope.signatures] == sorted([BEN.key_id, CARLA.key_id])
    for item in envelope.signatures:
        signer = BEN if item.key_id == BEN.key_id else CARLA
        verify(signer.public, pae(MANIFEST_TYPE, b"{}"), item.value)


def test_sign_detached_writes_a_key_once_however_often_it_is_given() -> None:
    assert sign_detached(b"{}", MANIFEST_TYPE, [BEN, BEN]) == sign_detached(b"{}", MANIFEST_TYPE, [BEN])


def test_sign_detached_needs_a_signer() -> None:
    with pytest.raises(ValueError, match="0 signers"):
        sign_detached(b"{}", MANIFEST_TYPE, [])


def test_join_gives_the_whole_envelope_that_other_tools_read() -> None:
    whole = join(parse_detached(sign_detached(b'{"a":1}', MANIFEST_TYPE, [BEN])), b'{"a":1}')
    plain = json.loads(whole)
    assert base64.b64decode(plain["payload"]) == b'{"a":1}'
    assert whole == sign_envelope(b'{"a":1}', MANIFEST_TYPE, [BEN]).to_bytes()
    assert parse_envelope(whole, what="envelope", max_bytes=4096).payload == b'{"a":1}'


def test_t01_base64_in_another_form_is_refused() -> None:
    for sig in ("-" * 86 + "==", "A" * 85 + "B==", "A" * 86 + "=\n", "A" * 88, "\u00e9" * 88, "=" * 88):
        plain = detached_json()
        plain["signatures"][0]["sig"] = sig
        with pytest.raises(FormatError):
            parse_detached(canonical.dumps(plain))


def test_t01_a_payload_with_unused_bits_set_is_refused() -> None:
    plain = json.loads(sign_envelope(b"x", MANIFEST_TYPE, [BEN]).to_bytes())
    assert plain["payload"] == "eA=="
    with pytest.raises(FormatError, match="one form"):
        parse_envelope(canonical.dumps({**plain, "payload": "eB=="}), what="envelope", max_bytes=4096)


def test_t08_no_signature_and_more_than_32_are_refused() -> None:
    item = detached_json()["signatures"][0]
    for signatures in ([], [{**item, "keyid": f"{number:064x}"} for number in range(33)]):
        with pytest.raises(FormatError):
            parse_detached(canonical.dumps({**detached_json(), "signatures": signatures}))


def test_t09_signatures_in_another_order_or_twice_are_refused() -> None:
    first, second = detached_json()["signatures"]
    for signatures in ([second, first], [first, first]):
        with pytest.raises(FormatError, match="sorted"):
            parse_detached(canonical.dumps({**detached_json(), "signatures": signatures}))


def test_t10_a_signature_that_is_not_64_bytes_is_refused() -> None:
    plain = detached_json()
    for length in (0, 63, 65, 66):
        plain["signatures"][0]["sig"] = base64.b64encode(b"x" * length).decode()
        with pytest.raises(FormatError):
            parse_detached(canonical.dumps(plain))


def test_t11_a_detached_envelope_above_its_limit_is_refused_unread() -> None:
    with pytest.raises(FormatError, match="the limit is 65536"):
        parse_detached(b"{" * (DETACHED_MAX_BYTES + 1))


def test_t12_other_fields_are_refused() -> None:
    plain = detached_json()
    signature = {**plain["signatures"][0], "cert": "x"}
    for bad in ({**plain, "payload": "e30="}, {**plain, "x": 1}, {**plain, "signatures": [signature]}):
        with pytest.raises(FormatError, match="unknown field"):
            parse_detached(canonical.dumps(bad))
    with pytest.raises(FormatError, match="missing required field"):
        parse_envelope(canonical.dumps(plain), what="envelope", max_bytes=4096)


def test_a_form_that_is_not_canonical_is_refused() -> None:
    data = sign_detached(b"{}", MANIFEST_TYPE, [BEN])
    for bad in (data + b"\n", b" " + data, data.replace(b"keyid", b"key\\u0069d"), b"\xff", b"[]", b"null"):
        with pytest.raises(FormatError):
            parse_detached(bad)
