"""Make the vectors of this folder with PyNaCl and json alone: `python tests/vectors/token/make.py`.

Nothing of Tidegate is imported: this is a second writer of docs/format/media-token.md. The carrier key is the Ed25519
key of the seed 00…1f; in `expected.json` the answer is the one of a reader whose root has that key for `channel`.
"""

import base64
import hashlib
import json
from pathlib import Path

import nacl.signing

HERE = Path(__file__).parent
TYPE = "application/vnd.tidegate.medium.v1+json"
CHANNEL = "7f3a" * 16
KEY = nacl.signing.SigningKey(bytes(range(32)))
OTHER = nacl.signing.SigningKey(bytes(range(32, 64)))
EXAMPLE = {
    "channel": CHANNEL,
    "counter": 3,
    "format": 1,
    "label": "STICK-07",
    "registered": "2026-01-31T08:00:00Z",
    "token": "000102030405060708090a0b0c0d0e0f",
    "written": "2026-02-07T08:00:00Z",
}


def compact(value: object) -> bytes:
    """Canonical JSON of ASCII texts and whole numbers."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def key_id(key: nacl.signing.SigningKey) -> str:
    return hashlib.sha256(bytes(key.verify_key)).hexdigest()


def signature(key: nacl.signing.SigningKey, payload: bytes, kind: str) -> dict[str, str]:
    message = b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(payload), payload)
    return {"keyid": key_id(key), "sig": base64.b64encode(key.sign(message).signature).decode()}


def token(*keys: nacl.signing.SigningKey, kind: str = TYPE, raw: bytes | None = None, **changes: object) -> bytes:
    payload = raw if raw is not None else compact({k: v for k, v in {**EXAMPLE, **changes}.items() if v is not None})
    signatures = sorted((signature(key, payload, kind) for key in keys or (KEY,)), key=lambda item: item["keyid"])
    return compact({"payload": base64.b64encode(payload).decode(), "payloadType": kind, "signatures": signatures})


VECTORS = {
    "ok_example": (token(), "good", ""),
    "ok_unknown_field": (token(colour="red"), "good", "K-9"),
    "k02_empty": (b"", "unreadable", "K-2"),
    "k02_line_feed": (token() + b"\n", "unreadable", "K-2"),
    "k02_long": (token(colour="x" * 4000), "unreadable", "K-2"),
    "k02_truncated": (token()[:-40], "unreadable", "K-2"),
    "k03_two_signatures": (token(KEY, OTHER), "unreadable", "K-3"),
    "k04_type": (token(kind="application/vnd.tidegate.manifest.v1+json"), "unreadable", "K-4"),
    "k05_unknown_key": (token(OTHER), "unknown", "K-5"),
    "k06_label_changed": (
        token().replace(
            base64.b64encode(compact(EXAMPLE)), base64.b64encode(compact({**EXAMPLE, "label": "STICK-08"}))
        ),
        "forged",
        "K-6",
    ),
    "k07_format_2": (token(format=2), "unreadable", "K-7"),
    "k08_channel": (token(channel="beef" * 16), "forged", "K-8"),
    "k09_counter_0": (token(counter=0), "unreadable", "K-9"),
    "k09_counter_missing": (token(counter=None), "unreadable", "K-9"),
    "k09_label_escape": (token(label="\x1b[31mred"), "unreadable", "K-9"),
    "k09_label_line_feed": (token(label="STICK-07\n"), "unreadable", "K-9"),
    "k09_label_long": (token(label="L" * 33), "unreadable", "K-9"),
    "k09_not_canonical": (token(raw=compact(EXAMPLE).replace(b",", b", ")), "unreadable", "K-9"),
    "k09_time": (token(written="2026-02-31T08:00:00Z"), "unreadable", "K-9"),
    "k09_token_short": (token(token="00" * 15), "unreadable", "K-9"),
}


def main() -> None:
    expected = {}
    for name, (data, answer, rule) in VECTORS.items():
        (HERE / f"{name}.tgm").write_bytes(data)
        expected[name] = {"answer": answer, "rule": rule}
    facts = {"channel": CHANNEL, "public": bytes(KEY.verify_key).hex(), "vectors": expected}
    (HERE / "expected.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
