"""Write the vectors of docs/format/trust.md. Uses PyNaCl and rfc8785 only, none of Tidegate's own code.

``python tests/vectors/trust/make.py`` writes the files beside it; a test holds that they are what this makes.
The keys are made from known seeds and are published: never trust them.
"""

import base64
import hashlib
import json
import unicodedata
from pathlib import Path
from typing import Any

import nacl.pwhash.argon2id
import nacl.secret
import nacl.signing
import rfc8785

Json = dict[str, Any]
ROOT_TYPE = "application/vnd.tidegate.root.v1+json"
MANIFEST_TYPE = "application/vnd.tidegate.manifest.v1+json"
ACT_TYPE = "application/vnd.tidegate.act.v1+json"
FLOOR = "2099-01-01T00:00:00Z"
HOLDERS = {
    "root-1": "ben", "root-2": "carla", "root-3": "ben", "release-1": "carla", "release-2": "dora",
    "carrier-1": "link", "carrier-2": "link", "ledger-1": "log", "other-root": "eve", "other-release": "eve",
    "other-carrier": "eve-link", "other-ledger": "eve-log", "site-root": "frida", "site-ledger": "high-log",
    "approver-1": "ben", "approver-2": "carla", "approver-3": "ben",
}  # fmt: skip


class Key:
    def __init__(self, name: str) -> None:
        self.name = name
        self.holder = HOLDERS[name]
        self.seed = hashlib.sha256(f"tidegate test key {name}".encode()).digest()
        self.private = nacl.signing.SigningKey(self.seed)
        self.public = bytes(self.private.verify_key)
        self.id = hashlib.sha256(self.public).hexdigest()
        self.entry = {"algorithm": "ed25519", "public": self.public.hex(), "holder": self.holder}


KEYS = {name: Key(name) for name in HOLDERS}


def pae(payload_type: str, payload: bytes) -> bytes:
    kind = payload_type.encode()
    return b" ".join([b"DSSEv1", str(len(kind)).encode(), kind, str(len(payload)).encode(), payload])


def signatures(payload: bytes, signers: str, payload_type: str) -> list[Json]:
    keys = sorted((KEYS[name] for name in signers.split()), key=lambda key: key.id)
    message = pae(payload_type, payload)
    return [{"keyid": key.id, "sig": base64.b64encode(key.private.sign(message).signature).decode()} for key in keys]


def detached(payload: bytes, signers: str, payload_type: str = MANIFEST_TYPE) -> Json:
    return {"payloadType": payload_type, "signatures": signatures(payload, signers, payload_type)}


def line(root: Json | bytes, signers: str = "root-1", payload_type: str = ROOT_TYPE) -> str:
    payload = root if isinstance(root, bytes) else rfc8785.dumps(root)
    text = base64.b64encode(payload).decode()
    return rfc8785.dumps({**detached(payload, signers, payload_type), "payload": text}).decode() + "\n"


def edited(text: str, **changes: Any) -> str:
    """A line whose envelope is changed after it was signed."""
    return rfc8785.dumps({**json.loads(text), **changes}).decode() + "\n"


def role(keys: str, threshold: int = 1, **limits: Any) -> Json:
    entry: Json = {"keys": sorted(KEYS[name].id for name in keys.split()), "threshold": threshold}
    return {**entry, "limits": limits} if limits else entry


def without(value: Json, *names: str) -> Json:
    return {name: item for name, item in value.items() if name not in names}


def channel(keys: str = "root-1 release-1 carrier-1 ledger-1", **changes: Any) -> Json:
    roles = {"root": role("root-1"), "release": role("release-1"), "carrier": role("carrier-1")}
    return {
        "format": 1, "critical": [], "type": "channel", "name": "plant", "sites": ["plant-7", "plant-8"],
        "version": 1, "epoch": 1, "created": "2026-01-01T00:00:00Z",
        "keys": {KEYS[name].id: KEYS[name].entry for name in keys.split()},
        "roles": {**roles, "ledger": role("ledger-1")}, "revoked": [], **changes,
    }  # fmt: skip


def with_roles(root: Json, /, **roles: Json) -> Json:
    return {**root, "roles": {**root["roles"], **roles}}


def channel_id(root: Json) -> str:
    return hashlib.sha256(rfc8785.dumps(root)).hexdigest()


V1 = channel()
ID = channel_id(V1)


def later(version: int = 2, **changes: Any) -> Json:
    return channel(**{"version": version, "id": ID, "created": "2026-02-01T00:00:00Z", **changes})


OTHER = channel(
    keys="other-root other-release other-carrier other-ledger",
    name="other",
    roles={
        "root": role("other-root"), "release": role("other-release"),
        "carrier": role("other-carrier"), "ledger": role("other-ledger"),
    },
)  # fmt: skip
TWO = with_roles(
    channel(keys="root-1 root-2 root-3 release-1 carrier-1 ledger-1"), root=role("root-1 root-2 root-3", 2)
)
SITE: Json = {
    **without(channel(keys="site-root site-ledger"), "sites"),
    "type": "site", "name": "plant-7", "channels": {ID: {"name": "plant"}},
    "roles": {"root": role("site-root"), "ledger": role("site-ledger")},
}  # fmt: skip
#: a key that a later format might bring: 33 bytes, an algorithm of another name
FUTURE_PUBLIC = b"\x02" + bytes(range(32))
FUTURE_ID = hashlib.sha256(FUTURE_PUBLIC).hexdigest()
FUTURE_ENTRY = {"algorithm": "ml-dsa-65", "public": FUTURE_PUBLIC.hex(), "holder": "ben"}


def with_future_key(root: Json) -> Json:
    release = {"keys": sorted([KEYS["release-1"].id, FUTURE_ID]), "threshold": 1}
    return with_roles({**root, "keys": {**root["keys"], FUTURE_ID: FUTURE_ENTRY}}, release=release)


def revoked(name: str, **fields: str) -> list[Json]:
    return [{"key_id": KEYS[name].id, **fields}]


REPLACED = later(
    keys="root-1 release-2 carrier-1 ledger-1",
    roles={**V1["roles"], "release": role("release-2")},
    revoked=revoked("release-1", reason="laptop lost"),
)
WITH_TWO_ROOTS = with_roles(later(keys="root-1 root-2 release-1 carrier-1 ledger-1"), root=role("root-2"))


def accept(name: str, chain: str, version: int, first: Json) -> Json:
    return {"name": name, "chain": chain, "result": "accept", "channel_id": channel_id(first), "version": version}


def refuse(name: str, chain: str, result: str = "FormatError") -> Json:
    return {"name": name, "chain": chain, "result": result}


def good_chains() -> list[Json]:
    site_v2 = {**SITE, "version": 2, "id": channel_id(SITE), "channels": {}}
    expiring = channel(expires="2027-01-01T00:00:00Z")
    limited = with_roles(V1, release=role("release-1", kinds=["image"], names=["*/app:*"], max_bytes=1000))
    two = line(TWO, "root-1 root-2")
    courier = {"keys": [FUTURE_ID], "threshold": 1}
    future = with_roles({**V1, "keys": {**V1["keys"], FUTURE_ID: FUTURE_ENTRY}}, courier=courier)
    return [
        accept("version_1", line(V1), 1, V1),
        accept("version_2_with_a_replaced_key", line(V1) + line(REPLACED), 2, V1),
        accept("root_key_changed", line(V1) + line(WITH_TWO_ROOTS, "root-1 root-2"), 2, V1),
        accept("new_epoch", line(V1) + line(later(epoch=2)), 2, V1),
        accept("site", line(SITE, "site-root") + line(site_v2, "site-root"), 2, SITE),
        accept("expiring", line(expiring), 1, expiring),
        accept("limits", line(limited), 1, limited),
        accept("two_holders", two, 1, TWO),
        accept("unknown_field", line({**V1, "later": 1}), 1, {**V1, "later": 1}),
        accept("unknown_role", line(with_roles(V1, courier=role("root-1"))), 1, with_roles(V1, courier=role("root-1"))),
        accept("t21_unknown_role_of_an_unknown_algorithm", line(future), 1, future),
        accept("unknown_algorithm", line(with_future_key(V1)), 1, with_future_key(V1)),
    ]


def bad_lines() -> list[Json]:
    good = line(V1)
    plain = json.loads(good)
    sig = plain["signatures"][0]
    first, second = json.loads(line(TWO, "root-1 root-2"))["signatures"]
    flipped = bytearray(base64.b64decode(sig["sig"]))
    flipped[5] ^= 1
    damaged = {**sig, "sig": base64.b64encode(bytes(flipped)).decode()}
    return [
        refuse("empty", ""),
        refuse("t01_sig_in_the_url_alphabet", edited(good, signatures=[{**sig, "sig": "-_" * 43 + "=="}])),
        refuse("t01_sig_with_unused_bits", edited(good, signatures=[{**sig, "sig": sig["sig"][:85] + "B=="}])),
        refuse("t08_no_signature", edited(good, signatures=[])),
        refuse("t09_signatures_not_sorted", edited(line(TWO, "root-1 root-2"), signatures=[second, first])),
        refuse("t09_signature_twice", edited(good, signatures=[sig, sig])),
        refuse("t10_signature_of_66_bytes", edited(good, signatures=[{**sig, "sig": sig["sig"][:86] + "AA"}])),
        refuse("t12_further_field", edited(good, cert="x")),
        refuse("t30_signature_flipped", edited(good, signatures=[damaged]), "SignatureError"),
        refuse("t31_no_line_feed_at_the_end", good[:-1]),
        refuse("t31_empty_line", good + "\n" + line(later())),
        refuse("t31_carriage_return", good[:-1] + "\r\n"),
        refuse("t31_not_canonical", good.replace(":", ": ", 1)),
        refuse("payload_type_of_a_manifest", line(V1, payload_type=MANIFEST_TYPE)),
    ]


def bad_roots() -> list[Json]:
    """One payload each that breaks one rule, rightly signed."""
    long_keys = {**V1["keys"], FUTURE_ID: {**FUTURE_ENTRY, "public": "00" * 2049}}
    not_sorted = {"keys": TWO["roles"]["root"]["keys"][::-1], "threshold": 1}
    short_keys = {**V1["keys"], FUTURE_ID: {**FUTURE_ENTRY, "algorithm": "ed25519"}}
    two_links = channel(keys="root-1 release-1 carrier-1 other-carrier ledger-1")
    holder_twice = with_roles(TWO, root=role("root-1 root-3", 2))
    pins = {ID: {"name": "plant"}, "0" * 64: {"name": "plant"}}
    cases: list[tuple[str, Json | bytes]] = [
        ("t13_payload_too_long", {**V1, "later": "x" * 16384}),
        ("payload_not_canonical", json.dumps(V1).encode()),
        ("payload_no_json", b"\x00"),
        ("type_unknown", {**V1, "type": "depot"}),
        ("name_in_capitals", {**V1, "name": "Plant"}),
        ("name_with_line_feed", {**V1, "name": "plant\n"}),
        ("t15_id_in_version_1", {**V1, "id": ID}),
        ("t16_sites_not_sorted", {**V1, "sites": ["b", "a"]}),
        ("t16_no_sites", {**V1, "sites": []}),
        ("t16_sites_absent", without(V1, "sites")),
        ("version_0", {**V1, "version": 0}),
        ("epoch_above_limit", {**V1, "epoch": 2**31}),
        ("version_is_true", {**V1, "version": True}),
        ("created_in_month_13", {**V1, "created": "2026-13-01T00:00:00Z"}),
        ("created_with_offset", {**V1, "created": "2026-01-01T00:00:00+00:00"}),
        ("t17_expires_before_created", {**V1, "expires": "2026-01-01T00:00:00Z"}),
        ("t18_channels_in_a_channel_root", {**V1, "channels": {}}),
        ("t19_wrong_key_id", {**V1, "keys": {**V1["keys"], "0" * 64: KEYS["root-2"].entry}}),
        ("t19_public_too_long", {**V1, "keys": long_keys}),
        ("t19_ed25519_of_33_bytes", {**V1, "keys": short_keys}),
        ("t20_role_key_not_in_keys", with_roles(V1, release=role("release-2"))),
        ("t20_role_keys_not_sorted", with_roles(TWO, root=not_sorted)),
        ("t20_role_without_keys", with_roles(V1, release={"keys": [], "threshold": 1})),
        ("t21_threshold_above_the_holders", holder_twice),
        ("t21_threshold_0", with_roles(V1, release=role("release-1", 0))),
        ("t22_no_carrier", {**V1, "roles": without(V1["roles"], "carrier")}),
        ("t23_carrier_threshold_2", with_roles(two_links, carrier=role("carrier-1 other-carrier", 2))),
        ("t24_carrier_key_in_release", with_roles(V1, release=role("carrier-1 release-1"))),
        ("t24_ledger_key_in_root", with_roles(V1, ledger=role("root-1"))),
        ("t25_unknown_limit", with_roles(V1, release=role("release-1", days=["monday"]))),
        ("t25_empty_pattern", with_roles(V1, release=role("release-1", names=[""]))),
        ("t27_revoked_key_in_a_role", {**V1, "revoked": revoked("release-1")}),
        ("revoked_not_sorted", {**V1, "revoked": [{"key_id": "f" * 64}, {"key_id": "0" * 64}]}),
        ("revoked_absent", without(V1, "revoked")),
        ("null_in_place_of_absent", {**V1, "expires": None, "later": 1}),
    ]
    site = [
        ("t18_two_channels_of_one_name", {**SITE, "channels": pins}),
        ("t18_no_channels", without(SITE, "channels")),
    ]
    return [
        *(refuse(name, line(root)) for name, root in cases),
        *(refuse(name, line(root, "site-root")) for name, root in site),
        refuse("t14_format_2", line({**V1, "format": 2}), "FeatureUnknownError"),
        refuse("t14_critical_feature", line({**V1, "critical": ["quorum"]}), "FeatureUnknownError"),
        refuse("t29_one_holder_with_two_keys", line(TWO, "root-1 root-3"), "SignatureError"),
        refuse("t32_signed_by_nobody_of_role_root", line(V1, "release-1"), "SignatureError"),
        refuse("t33_begins_with_version_2", line(later()), "RotationError"),
        refuse("t35_stranger_beside_the_root_key", line(V1, "root-1 release-1"), "RotationError"),
    ]


def bad_steps() -> list[Json]:
    kept = later(version=3)
    cases = [
        ("t15_wrong_id", later(id="0" * 64), "root-1"),
        ("t34_not_signed_by_the_old_root", WITH_TWO_ROOTS, "root-2"),
        ("t34_not_signed_by_the_new_root", WITH_TWO_ROOTS, "root-1"),
        ("t35_stranger_beside_them", later(), "root-1 other-root"),
        ("t36_version_3_after_1", later(version=3), "root-1"),
        ("t38_other_name", later(name="plant-b"), "root-1"),
    ]
    epoch = channel(epoch=2)
    lower = channel(version=2, id=channel_id(epoch), epoch=1)
    return [
        *(refuse(name, line(V1) + line(root, signers), "RotationError") for name, root, signers in cases),
        refuse("t15_no_id_in_version_2", line(V1) + line(without(later(), "id"))),
        refuse("t28_key_not_revoked_any_more", line(V1) + line(REPLACED) + line(kept), "RotationError"),
        refuse("t36_version_2_twice", line(V1) + line(later()) + line(later()), "RotationError"),
        refuse("t37_lower_epoch", line(epoch) + line(lower), "RotationError"),
        refuse("another_channels_version_2", line(OTHER, "other-root") + line(later()), "RotationError"),
    ]


def follow_cases() -> list[Json]:
    v1, v2, v3 = line(V1), line(REPLACED), line({**REPLACED, "version": 3, "epoch": 2})
    fork = line({**REPLACED, "created": "2026-02-02T00:00:00Z"})

    def case(name: str, stored: str, carried: str, result: str, version: int | None = None) -> Json:
        found = {} if version is None else {"version": version}
        return {"name": name, "stored": stored, "carried": carried, "result": result, **found}

    return [
        case("nothing_new", v1 + v2, v1 + v2, "accept", 2),
        case("one_version_more", v1, v1 + v2, "accept", 2),
        case("two_versions_more", v1, v1 + v2 + v3, "accept", 3),
        case("older_than_stored", v1 + v2 + v3, v1, "accept", 3),
        case("t40_newest_part_only", v1 + v2, v2 + v3, "accept", 3),
        case("t40_does_not_reach_back", v1, v2 + v3, "RotationError"),
        case("t40_fork_at_version_2", v1 + v2, v1 + fork, "RotationError"),
        case("t40_fork_in_an_older_version", v1 + v2 + v3, v1 + fork, "RotationError"),
        case("t40_another_channel", v1, line(OTHER, "other-root"), "RotationError"),
        case("t40_later_version_not_signed", v1 + v2, v2 + line({**REPLACED, "version": 3}, "root-2"), "RotationError"),
    ]


def manifest_cases() -> list[Json]:
    manifest = '{"what":"any bytes: they are not parsed"}'
    two = channel(keys="root-1 release-1 release-2 carrier-1 ledger-1")
    two = with_roles(two, release=role("release-1 release-2", 2))

    def case(name: str, chain: str, signed: Json | str, result: str, *signers: str) -> Json:
        text = signed if isinstance(signed, str) else rfc8785.dumps(signed).decode()
        listed = {"signers": sorted(KEYS[item].id for item in signers)} if signers else {}
        return {"name": name, "chain": chain, "others": [line(OTHER, "other-root")], "manifest": manifest,
                "detached": text, "result": result, **listed}  # fmt: skip

    payload = manifest.encode()
    one, replaced = line(V1), line(V1) + line(REPLACED)
    forged = detached(payload, "release-1")
    forged["signatures"][0]["keyid"] = KEYS["release-2"].id
    other_bytes = detached(payload + b" ", "release-1")
    not_held = detached(payload, "release-1")
    not_held["signatures"] = sorted(
        [*not_held["signatures"], *detached(payload + b" ", "release-2")["signatures"]],
        key=lambda item: str(item["keyid"]),
    )
    return [
        case("signed", one, detached(payload, "release-1"), "accept", "release-1"),
        case("by_the_key_that_came_later", replaced, detached(payload, "release-2"), "accept", "release-2"),
        case("two_of_two", line(two), detached(payload, "release-1 release-2"), "accept", "release-1", "release-2"),
        case("stranger_beside_does_no_harm", one, detached(payload, "release-1 other-release"), "accept", "release-1"),
        case("revoked_beside_does_no_harm", replaced, detached(payload, "release-1 release-2"), "accept", "release-2"),
        case("one_of_two", line(two), detached(payload, "release-1"), "SignatureError"),
        case("by_the_carrier_key", one, detached(payload, "carrier-1"), "SignatureError"),
        case("by_an_unknown_key", one, detached(payload, "site-root"), "SignatureError"),
        case("by_a_revoked_key", replaced, detached(payload, "release-1"), "KeyRevokedError"),
        case("by_another_channel", one, detached(payload, "other-release"), "ChannelUnknownError"),
        case("over_other_bytes", one, other_bytes, "SignatureError"),
        case("under_another_key_id", line(two), forged, "SignatureError"),
        case("t30_one_of_two_does_not_hold", line(two), not_held, "SignatureError"),
        case("in_another_payload_type", one, detached(payload, "release-1", ROOT_TYPE), "FormatError"),
        case("t12_with_a_payload", one, {**detached(payload, "release-1"), "payload": ""}, "FormatError"),
        case("not_json", one, "{", "FormatError"),
    ]


def act_cases() -> list[Json]:
    """Acts, read by the site whose root this is, while the floor of time stands at FLOOR."""
    site = {
        **with_roles(SITE, approver=role("approver-1 approver-2 approver-3")),
        "keys": {KEYS[name].id: KEYS[name].entry
                 for name in ("site-root", "site-ledger", "approver-1", "approver-2", "approver-3")},
    }  # fmt: skip
    chain = line(site, "site-root")
    act: Json = {"format": 1, "act": "lower-floor", "site": channel_id(site), "before": FLOOR,
                 "after": "2026-03-01T00:00:00Z", "reason": "the clock was set to 2099"}  # fmt: skip
    both = "approver-1 approver-2"

    def case(name: str, given: str, result: str = "accept", *holders: str) -> Json:
        said = {"holders": sorted(holders), "counts": len(holders) >= 2} if holders else {}
        return {"name": name, "site": chain, "floor": FLOOR, "act": given, "result": result, **said}

    def made(signers: str = both, payload_type: str = ACT_TYPE, **changes: Any) -> str:
        return line({**act, **changes}, signers, payload_type).rstrip("\n")

    def refused(name: str, result: str = "FormatError", **changes: Any) -> Json:
        return case(name, made(**changes), result)

    not_held, other = json.loads(made()), json.loads(made(reason="another"))
    of_second = KEYS["approver-2"].id
    not_held["signatures"] = [
        next(item for item in (other if entry["keyid"] == of_second else not_held)["signatures"]
             if item["keyid"] == entry["keyid"])
        for entry in not_held["signatures"]
    ]  # fmt: skip
    spaced = json.dumps(act, sort_keys=True).encode()
    return [
        case("two_people", made(), "accept", "ben", "carla"),
        case("one_person", made("approver-1"), "accept", "ben"),
        case("t50_two_keys_of_one_person", made("approver-1 approver-3"), "accept", "ben"),
        case("three_keys_of_two_people", made("approver-1 approver-2 approver-3"), "accept", "ben", "carla"),
        case("stranger_beside_does_no_harm", made(f"{both} root-1 site-root"), "accept", "ben", "carla"),
        case("unknown_field", made(more=1), "accept", "ben", "carla"),
        case("t48_reason_of_256_characters", made(reason="\u00fc" * 256), "accept", "ben", "carla"),
        refused("t46_above_16384_bytes", more="x" * 12000),
        refused("t42_of_another_type", payload_type=ROOT_TYPE),
        refused("t47_signed_by_no_approver", "SignatureError", signers="site-root site-ledger"),
        case("t30_one_of_two_does_not_hold", rfc8785.dumps(not_held).decode(), "SignatureError"),
        case("t12_with_another_field", edited(made(), more=1).rstrip("\n"), "FormatError"),
        case("t46_line_feed_after", made() + "\n", "FormatError"),
        case("t48_not_canonical", line(spaced, both, ACT_TYPE).rstrip("\n"), "FormatError"),
        case("t48_field_missing", line(without(act, "reason"), both, ACT_TYPE).rstrip("\n"), "FormatError"),
        refused("t48_format_2", format=2),
        refused("t48_unknown_act", act="raise-floor"),
        refused("t48_site_short", site=channel_id(site)[1:]),
        refused("t48_before_is_no_time", before="2099-01-01"),
        refused("t48_after_is_no_day", after="2026-02-30T00:00:00Z"),
        refused("t48_no_reason", reason=""),
        refused("t48_reason_of_257_characters", reason="\u00fc" * 257),
        refused("t49_of_another_site", site="7f3a" * 16),
        refused("t49_the_floor_stands_elsewhere", before="2099-01-01T00:00:01Z"),
        refused("t49_not_earlier", after=FLOOR),
        refused("t49_later", after="2100-01-01T00:00:00Z"),
    ]


def key_file_cases() -> list[Json]:
    key = KEYS["release-1"]
    plain: Json = {"kind": "tidegate-private-key", "format": 1, "algorithm": "ed25519", "holder": key.holder,
                   "public": key.public.hex()}  # fmt: skip
    salt, nonce, passphrase = bytes(range(16)), bytes(range(24)), "Grüße an alle"
    secret = nacl.pwhash.argon2id.kdf(32, unicodedata.normalize("NFC", passphrase).encode(), salt, 1, 8192)
    sealed = nacl.secret.SecretBox(secret).encrypt(key.seed, nonce).ciphertext
    locked: Json = {"kdf": "argon2id", "operations": 1, "memory_bytes": 8192, "salt": salt.hex(), "nonce": nonce.hex(),
                    "sealed": sealed.hex()}  # fmt: skip
    opened, shut = {**plain, "seed": key.seed.hex()}, {**plain, "locked": locked}

    def case(name: str, file: Json | str, result: str, given: str | None = None) -> Json:
        text = file if isinstance(file, str) else rfc8785.dumps(file).decode()
        found = {"key_id": key.id} if result == "accept" else {}
        return {"name": name, "file": text, "result": result, **({"passphrase": given} if given else {}), **found}

    bad = "KeyFileError"
    return [
        case("open", opened, "accept"),
        case("locked", shut, "accept", passphrase),
        case("locked_passphrase_in_another_unicode_form", shut, "accept", unicodedata.normalize("NFD", passphrase)),
        case("locked_wrong_passphrase", shut, bad, "x"),
        case("t03_line_feed_after_it", rfc8785.dumps(opened).decode() + "\n", bad),
        case("t05_seed_and_locked", {**opened, "locked": locked}, bad, passphrase),
        case("t05_neither", plain, bad),
        case("t06_too_many_operations", {**plain, "locked": {**locked, "operations": 17}}, bad, passphrase),
        case("t06_too_much_memory", {**plain, "locked": {**locked, "memory_bytes": 2**40}}, bad, passphrase),
        case("t07_public_of_another_key", {**opened, "public": KEYS["root-1"].public.hex()}, bad),
        case("format_2", {**opened, "format": 2}, bad),
        case("algorithm_unknown", {**opened, "algorithm": "rsa"}, bad),
    ]


def limit_cases() -> list[Json]:
    facts: Json = {"channel_name": "plant", "content_size": 1000, "removed": ["files/old"], "artifacts": [
        {"name": "localhost:5000/team-a/app:1", "kind": "image"}, {"name": "files/docs", "kind": "files"}]}  # fmt: skip

    def case(name: str, limits: Json, result: str = "accept") -> Json:
        return {"name": name, "limits": limits, "facts": facts, "result": result}

    bad = "LimitError"
    return [
        case("no_limits", {}),
        case(
            "all_reached_and_none_exceeded", {"channels": ["plant"], "kinds": ["*"], "names": ["*"], "max_bytes": 1000}
        ),
        case("t25_star_crosses_slashes", {"names": ["localhost:5000/*:1", "files/????", "files/old"]}),
        case("t25_whole_text_must_match", {"names": ["localhost", "files/*"]}, bad),
        case("t25_brackets_are_literal", {"names": ["[l]ocalhost*", "files/*"]}, bad),
        case("t25_question_mark_is_one", {"names": ["localhost*", "files/?", "files/old"]}, bad),
        case("t25_case_counts", {"kinds": ["Image", "files"]}, bad),
        case("removed_names_count", {"names": ["localhost*", "files/docs"]}, bad),
        case("kind", {"kinds": ["image"]}, bad),
        case("channel", {"channels": ["plan"]}, bad),
        case("empty_array_allows_nothing", {"channels": []}, bad),
        case("size", {"max_bytes": 999}, bad),
    ]


def word_cases() -> list[Json]:
    # The first three are BIP-39's own vectors for 128 bits.
    known = {
        "00": "abandon " * 11 + "about",
        "7f": "legal winner thank year wave sausage worth useful legal winner thank yellow",
        "ff": "zoo " * 11 + "wrong",
    }
    return [{"name": f"all_{byte}", "id": byte * 32, "words": words} for byte, words in known.items()]


def pae_cases() -> list[Json]:
    given = [
        ("specification", "http://example.com/HelloWorld", b"hello world"),
        ("empty", "", b""),
        ("lengths_count_bytes", "http://example.com/\u00e9", "\u00e9".encode()),
        ("spaces_inside", "a 1 b", b" 1 "),
        ("any_bytes", MANIFEST_TYPE, bytes(range(256))),
    ]
    return [
        {"name": name, "type": kind, "payload_hex": data.hex(), "pae_hex": pae(kind, data).hex()}
        for name, kind, data in given
    ]


def all_files() -> dict[str, str]:
    """File name → content."""
    keys = [
        {"name": key.name, "holder": key.holder, "seed": key.seed.hex(), "public": key.public.hex(), "key_id": key.id}
        for key in KEYS.values()
    ]
    tables = {
        "keys": keys, "pae": pae_cases(), "detached": manifest_cases(), "key-files": key_file_cases(),
        "chains": good_chains() + bad_lines() + bad_roots() + bad_steps(), "follow": follow_cases(),
        "limits": limit_cases(), "words": word_cases(), "acts": act_cases(),
    }  # fmt: skip
    return {f"{name}.json": json.dumps(cases, indent=1, ensure_ascii=False) + "\n" for name, cases in tables.items()}


if __name__ == "__main__":
    for file_name, text in all_files().items():
        (Path(__file__).parent / file_name).write_text(text, encoding="utf-8")
