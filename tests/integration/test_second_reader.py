"""A second reader, written from docs/format/ alone, agrees with the vectors and with what Tidegate really writes."""

import hashlib
import io
import json
import math
import os
import re
import socket
import struct
import subprocess
import sys
import tarfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import zstandard

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from second_reader import announcement as announcements
from second_reader import (
    baseline,
    bundle,
    erasure,
    files,
    ground,
    ledger,
    media,
    medium_token,
    read,
    roots,
    slip,
    stream,
    trust,
    witness,
)
from second_reader.ground import RefusedError

VECTORS = Path(__file__).resolve().parents[1] / "vectors"
# A cause that a document tells apart, by the error class that a vector names.
CAUSES = {
    "KeyRevokedError": "key-revoked",
    "ChannelUnknownError": "channel-unknown",
    "SignatureError": "signature",
    "FeatureUnknownError": "feature-unknown",
    "LimitError": "limit",
}


def cases(name: str) -> list[Any]:
    """Cases of a list of vectors, by their names."""
    return [pytest.param(case, id=case["name"]) for case in json.loads((VECTORS / name).read_text())]


def listed(folder: str, *kinds: str) -> list[Any]:
    """Vectors of an expected.json, by their names."""
    found = json.loads((VECTORS / folder / "expected.json").read_text())
    return [pytest.param(case, id=name) for name, case in found.items() if case["kind"] in kinds]


def expect(answer: str, rule: str, act: Any) -> Any:
    """What a vector says: accepted, or refused for its rule, and for its cause where it names one."""
    if answer in ("ok", "accept"):
        return act()
    with pytest.raises(RefusedError) as refused:
        act()
    if rule:
        assert refused.value.rule == rule, refused.value
    if answer in CAUSES:
        assert refused.value.cause == CAUSES[answer], refused.value
    return None


def rule_in(name: str) -> str:
    """trust.md, Vectors: a name begins with the rule's number where it tests one."""
    found = re.match(r"t(\d\d)_", name)
    return f"T-{int(found[1])}" if found else ""


@pytest.mark.parametrize("case", cases("trust/keys.json"))
def test_key_ids_are_digests_of_public_keys(case: dict[str, Any]) -> None:
    assert trust.key_id(bytes.fromhex(case["public"])) == case["key_id"]


@pytest.mark.parametrize("case", cases("trust/pae.json"))
def test_signed_bytes_are_those_of_dsse(case: dict[str, Any]) -> None:
    assert trust.pae(case["type"], bytes.fromhex(case["payload_hex"])).hex() == case["pae_hex"]


@pytest.mark.parametrize("case", cases("trust/words.json"))
def test_fingerprints_are_the_words_of_the_vectors(case: dict[str, Any]) -> None:
    digest = bytes.fromhex(case["id"])
    assert trust.words(digest) == case["words"]
    assert trust.same_words(case["words"].upper().replace(" ", ", ", 6).replace(" ", "-\n"), digest)
    assert not trust.same_words(case["words"].rpartition(" ")[0], digest)


@pytest.mark.parametrize("case", cases("trust/chains.json"))
def test_whole_chains_are_judged_as_the_vectors_say(case: dict[str, Any]) -> None:
    chain = expect(case["result"], rule_in(case["name"]), lambda: trust.read_whole(case["chain"].encode()))
    if chain is not None:
        assert (chain.id, chain.newest.version) == (case["channel_id"], case["version"])


@pytest.mark.parametrize("case", cases("trust/follow.json"))
def test_carried_chains_are_judged_as_the_vectors_say(case: dict[str, Any]) -> None:
    stored = trust.read_whole(case["stored"].encode())
    chain = expect(case["result"], rule_in(case["name"]), lambda: trust.follow(stored, case["carried"].encode()))
    if chain is not None:
        assert chain.newest.version == case["version"]


@pytest.mark.parametrize("case", cases("trust/detached.json"))
def test_signatures_of_manifests_are_judged_as_the_vectors_say(case: dict[str, Any]) -> None:
    root = trust.read_whole(case["chain"].encode()).newest
    others = [trust.read_whole(other.encode()).newest for other in case.get("others", [])]
    signers = expect(
        case["result"],
        rule_in(case["name"]),
        lambda: trust.verify_manifest(root, case["detached"].encode(), case["manifest"].encode(), others),
    )
    if signers is not None:
        assert signers == case["signers"]


@pytest.mark.parametrize("case", cases("trust/acts.json"))
def test_acts_are_judged_as_the_vectors_say(case: dict[str, Any]) -> None:
    site = trust.read_whole(case["site"].encode())
    rule = rule_in(case["name"]) if case["result"] != "accept" else ""
    act = case["act"].encode()
    found = expect(case["result"], rule, lambda: trust.read_act(act, site.newest, site.id, case["floor"]))
    assert found is None or (sorted(found), len(found) >= 2) == (case["holders"], case["counts"])


@pytest.mark.parametrize("case", cases("trust/limits.json"))
def test_limits_are_judged_as_the_vectors_say(case: dict[str, Any]) -> None:
    limits = roots.parse_limits({"limits": case["limits"]})
    expect(case["result"], "", lambda: roots.check_limits(limits, case["facts"]))


@pytest.mark.parametrize("case", cases("trust/key-files.json"))
def test_key_files_are_judged_as_the_vectors_say(case: dict[str, Any]) -> None:
    rule = rule_in(case["name"])
    key = expect(case["result"], rule, lambda: trust.read_key_file(case["file"].encode(), case.get("passphrase")))
    if key is not None:
        assert trust.key_id(bytes(key.verify_key)) == case["key_id"]


@pytest.mark.parametrize("case", listed("bundle", "tgb", "head", "cover", "chunk"))
def test_bundles_are_judged_as_the_vectors_say(case: dict[str, Any]) -> None:
    data = (VECTORS / "bundle" / case["file"]).read_bytes()

    def act() -> None:
        if case["kind"] == "tgb":
            found = bundle.read_file(data)
            head = bundle.read_head(found.head, found.manifest_length, len(found.chunks))
            bundle.read_cover(found.cover)
            list(bundle.read_blobs(head, found.chunks))
        elif case["kind"] == "head":
            head = bundle.read_head(data, case["manifest_length"], case["chunks_length"])
            if "site" in case:
                bundle.check_audience(head.manifest, case["site"])
        elif case["kind"] == "cover":
            bundle.read_cover(data)
        else:
            bundle.read_chunk(data, case["raw"], case["codec"], bytes.fromhex(case["digest"]))

    expect(case["answer"], case["rule"], act)


@pytest.mark.parametrize("case", listed("media", "announcement", "label", "index", "layout"))
def test_blocks_of_media_are_judged_as_the_vectors_say(case: dict[str, Any]) -> None:
    data = (VECTORS / "media" / case["file"]).read_bytes()

    def act() -> None:
        if case["kind"] == "label":
            media.read_label(data)
        elif case["kind"] == "index":
            media.read_index(data)
        elif case["kind"] == "layout":
            announcements.lay_out(announcements.parse_announcement(data), case["preamble_length"])
        else:
            frame = announcements.read_frame(data)
            public = bytes.fromhex(case["key"])
            assert trust.key_id(public) == frame.key_id
            assert trust.holds(public, frame.signature, trust.pae(trust.ANNOUNCEMENT, frame.payload))
            announcements.parse_announcement(data)

    expect(case["answer"], case["rule"], act)


def parts_of(file: Path) -> list[bytes]:
    (volume,) = media.find_volumes(file.parent)
    return media.read_parts([(volume, announcements.parse_announcement(volume.announcement))])


@pytest.mark.parametrize("case", listed("media", "volume"))
def test_damaged_volumes_are_mended_or_named_as_the_vectors_say(case: dict[str, Any], tmp_path: Path) -> None:
    data = bytearray((VECTORS / "media" / case["file"]).read_bytes())
    file = tmp_path / "any name"
    file.write_bytes(data)
    (volume,) = media.find_volumes(tmp_path)
    assert announcements.parse_announcement(volume.announcement).tag.hex() == case.get("tag", "02c82e8e6c028de6")
    whole = parts_of(file)
    for at, length in case["damage"]:
        for place in range(at, at + length):
            data[place] ^= 0xFF
    file.write_bytes(data)
    if case["answer"] == "ok":
        assert parts_of(file) == whole
    else:
        with pytest.raises(RefusedError, match=f"E-13: part {case['part']}"):
            parts_of(file)


@pytest.mark.parametrize("lost", [1, 2, 3])
def test_any_two_volumes_of_the_striped_set_hold_everything(lost: int, tmp_path: Path) -> None:
    shares = []
    for number in {1, 2, 3} - {lost}:
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "share").write_bytes((VECTORS / "media" / f"ok_share_{number}.share").read_bytes())
        (volume,) = media.find_volumes(folder)
        shares.append((volume, announcements.parse_announcement(volume.announcement)))
    case = json.loads((VECTORS / "media" / "expected.json").read_text())[f"ok_share_{lost}"]
    assert hashlib.sha256(media.read_parts(shares)[2]).hexdigest() == case["chunks_sha256"]
    with pytest.raises(RefusedError, match="E-13: part 2"):
        media.read_parts(shares[:1])


def part_of(length: int) -> bytes:
    """erasure.md, Vectors."""
    return bytes((i * i + 3 * i + i // 251) % 256 for i in range(length))


@pytest.mark.parametrize("file", sorted((VECTORS / "erasure").glob("e*.json")), ids=lambda file: file.stem)
def test_repair_symbols_and_their_order_are_those_of_the_vectors(file: Path) -> None:
    case = json.loads(file.read_text())
    geometry = erasure.Geometry(**case["geometry"])
    geometry.check()
    size, data = geometry.symbol_size, part_of(geometry.length)
    assert len(case["blocks"]) == geometry.block_count
    for number, block in enumerate(case["blocks"]):
        first, count = geometry.first_symbol(number), geometry.sources_of(number)
        assert (first, count) == (block["first_symbol"], block["source_count"])
        sources = [data[i * size : (i + 1) * size].ljust(size, b"\0") for i in range(first, first + count)]
        repairs = [bytes.fromhex(repair) for repair in block["repairs"]]
        assert erasure.repairs(sources, geometry.repair_count) == repairs
        symbols = dict(enumerate(sources + repairs))
        for lost in range(geometry.repair_count):
            del symbols[lost * count // geometry.repair_count]
        assert erasure.mend(symbols, count, geometry.repair_count) == sources
    order = [geometry.record_order(group) for group in range(geometry.group_count)]
    assert [[list(record) for record in group] for group in order if group] == [g for g in case["record_order"] if g]


@pytest.mark.parametrize("case", cases("erasure/refused.json"))
def test_geometries_are_refused_by_the_rule_of_the_vectors(case: dict[str, Any]) -> None:
    expect("refused", case["rule"], erasure.Geometry(**case["geometry"]).check)


@pytest.mark.parametrize("folder", sorted((VECTORS / "ledger").glob("v*")), ids=lambda folder: folder.name)
def test_ledgers_are_judged_as_the_vectors_say(folder: Path) -> None:
    expected = json.loads((folder / "expected.json").read_text())
    key = ledger.read_vkey((folder / "vkey").read_text())
    rule = f"L-{int(folder.name[1:3])}"
    if rule == "L-12":
        expect("refused", rule, lambda: ledger.Ledger(folder, key))
        return
    log = ledger.Ledger(folder, key)
    assert (log.checkpoint.size, log.checkpoint.root.hex()) == (expected["size"], expected["root"])
    if (folder / "against").exists():
        log.compare(ledger.read_checkpoint((folder / "against").read_bytes(), key, key.name))
    if expected["findings"] is None:
        assert log.findings == []
        return
    assert {finding.rule for finding in log.findings} == {rule}
    said = "\n".join(finding.what for finding in log.findings)
    for text in expected["findings"]:
        for place in re.findall(r"entry \d+|tile/[^:\s]+|hash \d+|size \d+", text):
            assert place in said


# --- streams ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", listed("stream", "datagram", "heartbeat", "announcement"))
def test_datagrams_and_their_payloads_are_judged_as_the_vectors_say(case: dict[str, Any]) -> None:
    data = (VECTORS / "stream" / case["file"]).read_bytes()

    def act() -> None:
        if case["kind"] == "datagram":
            datagram = stream.read_datagram(data)
            assert stream.write_datagram(datagram) == data
            return
        public = bytes.fromhex(case["key"])
        if case["kind"] == "heartbeat":
            stream.read_heartbeat(data, {trust.key_id(public): public})
        else:
            frame = announcements.read_frame(data)
            assert trust.key_id(public) == frame.key_id
            assert trust.holds(public, frame.signature, trust.pae(trust.ANNOUNCEMENT, frame.payload))
            stream.parse_session(data)

    expect(case["answer"], case["rule"], act)


def test_a_heartbeat_counts_only_with_the_signature_of_a_carrier_key() -> None:
    case = json.loads((VECTORS / "stream" / "expected.json").read_text())["ok_heartbeat"]
    data = bytearray((VECTORS / "stream" / case["file"]).read_bytes())
    public = bytes.fromhex(case["key"])
    expect("refused", "S-11", lambda: stream.read_heartbeat(bytes(data), {}))
    data[50] ^= 1
    expect("refused", "S-11", lambda: stream.read_heartbeat(bytes(data), {trust.key_id(public): public}))


def framed(data: bytes) -> list[bytes]:
    """stream.md, Vectors: each datagram with its length before it."""
    found, at = [], 0
    while at < len(data):
        (length,) = struct.unpack_from("<H", data, at)
        found.append(data[at + 2 : at + 2 + length])
        at += 2 + length
    return found


@pytest.fixture(scope="module")
def session() -> tuple[list[bytes], list[bytes]]:
    """The datagrams of the vectors' session, and the parts that it carries."""
    case = json.loads((VECTORS / "stream" / "expected.json").read_text())["ok_session"]
    whole, parts = (VECTORS / "stream" / case["parts"]).read_bytes(), []
    for length in case["lengths"]:
        parts.append(whole[:length])
        whole = whole[length:]
    assert not whole
    return framed((VECTORS / "stream" / case["file"]).read_bytes()), parts


def signed_by_the_vectors(_link: stream.Link, frame: announcements.Frame) -> None:
    case = json.loads((VECTORS / "stream" / "expected.json").read_text())["ok_announcement"]
    assert trust.holds(bytes.fromhex(case["key"]), frame.signature, trust.pae(trust.ANNOUNCEMENT, frame.payload))


def linked(datagrams: list[bytes]) -> stream.Link:
    return stream.Link(signed_by_the_vectors).take_all(datagrams)


def only(link: stream.Link) -> tuple[bytes, stream.Session]:
    ((tag, found),) = link.sessions.items()
    return tag, found


def test_a_session_of_the_vectors_gives_its_parts(session: tuple[list[bytes], list[bytes]]) -> None:
    datagrams, parts = session
    link = linked(datagrams)
    tag, found = only(link)
    assert found.parts() == parts
    assert (link.ignored, link.lost(tag)) == ([], 0)
    assert [len(preamble) for preamble in link.preambles.values()] == [1700]


def test_a_session_is_sent_in_the_order_that_the_document_gives(session: tuple[list[bytes], list[bytes]]) -> None:
    sent = [stream.read_datagram(one) for one in session[0]]
    found = only(linked(session[0]))[1].announcement
    order = []
    for part, start, stop in found.spans:
        for group in range(start, stop):
            order += [(part, *record) for record in found.parts[part].record_order(group)] + [None]
    said = [(one.part, one.block, one.symbol) if one.kind == stream.DATA else None for one in sent]
    assert said == [None] * 3 + order + [None] * 3
    kinds = [one.kind for one in sent if one.kind != stream.DATA]
    groups = sum(stop - start for _, start, stop in found.spans)
    assert kinds == [stream.TRUST] * 2 + [stream.ANNOUNCED] * (1 + groups) + [stream.END] * 3
    for tag in {one.tag for one in sent}:
        own = [one for one in sent if one.tag == tag]
        assert [one.running for one in own] == list(range(len(own)))
        assert all(one.block == one.running for one in own if one.kind == stream.END)


def test_symbols_are_taken_in_any_order_and_as_many_lost_as_there_are_repairs(
    session: tuple[list[bytes], list[bytes]],
) -> None:
    datagrams, parts = session
    repairs = [part.repair_count for part in only(linked(datagrams))[1].announcement.parts]
    kept = []
    for one in reversed(datagrams):
        datagram = stream.read_datagram(one)
        if datagram.kind != stream.DATA or datagram.symbol >= repairs[datagram.part]:
            kept.append(one)
    link = linked(kept)
    tag, found = only(link)
    assert found.parts() == parts
    assert link.lost(tag) == len(datagrams) - len(kept)
    one_more = [one for one in kept if stream.read_datagram(one)[:3] != (stream.DATA, 2, 2)]
    with pytest.raises(RefusedError, match="E-13: part 2, block 0"):
        only(linked(one_more))[1].parts()


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        ("S-9", {"payload": bytes(63)}),
        ("S-9", {"payload": bytes(65)}),
        ("S-9", {"part": 1, "block": 0, "symbol": 3, "payload": bytes(64)}),
        ("S-10", {"block": 7}),
        ("S-10", {"symbol": 7}),
        ("S-10", {"part": 0, "block": 1}),
    ],
)
def test_data_that_does_not_fit_the_announcement_is_ignored(
    rule: str, change: dict[str, Any], session: tuple[list[bytes], list[bytes]]
) -> None:
    datagrams, parts = session
    good = next(one for one in map(stream.read_datagram, datagrams) if one[:3] == (stream.DATA, 2, 0))
    link = linked([*datagrams[:3], stream.write_datagram(good._replace(**change)), *datagrams[3:]])
    assert link.ignored == [rule]
    assert only(link)[1].parts() == parts


def test_an_announcement_under_another_tag_opens_nothing(session: tuple[list[bytes], list[bytes]]) -> None:
    datagrams, _ = session
    other = stream.read_datagram(datagrams[2])._replace(tag=bytes(8))
    link = linked([stream.write_datagram(other), *datagrams[3:6]])
    assert (link.ignored, link.sessions) == (["S-8"], {})


# --- tokens, slips, what rides in the cover ---------------------------------------------------------------------------


def vectors_of(folder: str) -> list[Any]:
    found = json.loads((VECTORS / folder / "expected.json").read_text())["vectors"]
    return [pytest.param(name, case, id=name) for name, case in found.items()]


@pytest.mark.parametrize(("name", "case"), vectors_of("token"))
def test_tokens_are_judged_as_the_vectors_say(name: str, case: dict[str, Any]) -> None:
    said = json.loads((VECTORS / "token" / "expected.json").read_text())
    key = medium_token.CarrierKey(said["channel"], bytes.fromhex(said["public"]))
    data = (VECTORS / "token" / f"{name}.tgm").read_bytes()
    if case["answer"] == "good":
        assert medium_token.read_token(data, [key])["channel"] == said["channel"]
        revoked = medium_token.CarrierKey(key.channel, key.public, revoked=True)
        case, key = {"answer": "forged", "rule": "K-5"}, revoked
    with pytest.raises(RefusedError) as refused:
        medium_token.read_token(data, [key])
    assert (refused.value.cause, refused.value.rule) == (case["answer"], case["rule"])


@pytest.mark.parametrize(("name", "case"), vectors_of("baseline"))
def test_baselines_are_judged_as_the_vectors_say(name: str, case: dict[str, Any]) -> None:
    said = json.loads((VECTORS / "baseline" / "expected.json").read_text())
    data = (VECTORS / "baseline" / f"{name}.baseline").read_bytes()
    public = bytes.fromhex(said["public"])
    found = expect(case["answer"], case["rule"], lambda: baseline.read_baseline(data, said["site"], public))
    assert found is None or (found.id, found.sizes) == (case["id"], case["blobs"])


SLIP_CAUSES = {"SlipMistypedError": slip.MISTYPED, "SlipForgedError": slip.FORGED}
# slip.md, Example: whose ledger key, and which channel.
SLIP_KEY = bytes.fromhex("03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8")
SLIP_CHANNEL = "7f3a" * 16


def expect_typed(result: str, act: Any) -> Any:
    if result not in SLIP_CAUSES:
        return act()
    with pytest.raises(RefusedError) as refused:
        act()
    assert refused.value.cause == SLIP_CAUSES[result], refused.value
    return None


@pytest.mark.parametrize("case", cases("slip/slips.json"))
def test_slips_are_judged_as_the_vectors_say(case: dict[str, Any]) -> None:
    def act() -> slip.Slip:
        found = slip.read_slip(case["text"])
        slip.verify(found, SLIP_CHANNEL, SLIP_KEY)
        return found

    found = expect_typed(case["result"], act)
    if found is not None:
        assert found.note(SLIP_CHANNEL) == case["note"]
        assert found.sum == slip.sum_of(found.held, {number: number.to_bytes(32, "big") for number in range(1, 193)})


@pytest.mark.parametrize("case", cases("slip/codes.json"))
def test_codes_are_judged_as_the_vectors_say(case: dict[str, Any]) -> None:
    found = expect_typed(case["result"], lambda: slip.read_code(case["text"]))
    if found is not None:
        assert (found.channel, found.sequence) == (case["channel"][:4], case["sequence"])
        own = slip.proof_of(*(case[name] for name in ("channel", "epoch", "sequence", "site", "receipt")))
        assert (found.proof == own) == (case["result"] == "accept")


@pytest.mark.parametrize("case", cases("slip/receipts.json"))
def test_receipts_are_those_of_the_vectors(case: dict[str, Any]) -> None:
    blobs = [bytes.fromhex(blob) for blob in case["blobs"]]
    assert slip.receipt_of(bytes.fromhex(case["bundle_id"]), blobs) == case["receipt"]


@pytest.mark.parametrize("case", cases("slip/site-keys.json"))
def test_site_keys_are_judged_as_the_vectors_say(case: dict[str, Any]) -> None:
    found = expect_typed(case["result"], lambda: slip.read_site_key(case["text"]))
    assert found is None or found == case["vkey"]


@pytest.mark.parametrize("case", cases("slip/proofs.json"))
def test_proofs_are_judged_as_the_vectors_say(case: dict[str, Any]) -> None:
    head = (case["size"], bytes.fromhex(case["root"]))
    found = expect_typed(case["result"], lambda: slip.read_proof(case["text"], *head))
    assert (found[0] if found else None) == case.get("from")


def judged_cosigning(case: dict[str, Any]) -> str:
    def head(value: list[Any] | None) -> tuple[int, bytes] | None:
        return (value[0], bytes.fromhex(value[1])) if value else None

    given = case["proof"]
    path = [bytes.fromhex(node) for node in given["path"]] if given else []
    proof = ((given["size"], bytes.fromhex(given["root"])), path) if given else None
    return witness.may_cosign(head(case["before"]), head(case["slip"]), proof)


@pytest.mark.parametrize(("name", "case"), vectors_of("witness"))
def test_what_rides_in_the_cover_is_judged_as_the_vectors_say(name: str, case: dict[str, Any]) -> None:
    folder = VECTORS / "witness"
    said = json.loads((folder / "expected.json").read_text())
    origin, low = said["low"]["name"], [bytes.fromhex(said["low"]["public"])]
    if case["kind"] == "answer":
        kinds = {"checkpoint": 2, "entries": 3, "proofs": 4}
        pieces = {kinds[kind]: (folder / file).read_bytes() for kind, file in case["pieces"].items()}
        remembered = {size: bytes.fromhex(root) for size, root in case["remembered"]}
        assert witness.answer(remembered, witness.read_shown(pieces, origin, low)) == case["answer"]
        return
    if case["kind"] == "cosigning":
        assert judged_cosigning(case) == case["answer"]
        return
    data = (folder / case["file"]).read_bytes()

    def act() -> dict[str, Any]:
        if case["kind"] == "checkpoint":
            head = witness.read_checkpoint(data, origin, low)
            return {"size": head.size, "root": head.root.hex()}
        if case["kind"] in ("cosignature", "own"):
            site = ledger.make_key(said["site"]["name"], bytes.fromhex(said["site"]["public"]))
            head, moment = witness.read_cosignature(data, site, origin, low)
            return {"size": head.size, "root": head.root.hex(), "time": moment}
        root = bytes.fromhex(case["root"])
        if case["kind"] == "proofs":
            heads = witness.read_proofs(data, case["size"], root)
            return {"heads": {str(size): one.hex() for size, one in heads.items()}}
        found = witness.read_entries(data, low, case["size"], root)
        return {"first": found.first, "heads": {str(size): one.hex() for size, one in found.heads.items()}}

    if case["kind"] == "own":
        found = expect("refused" if case["answer"] == "nothing" else "ok", "W-8", act)
        own = {int(size): bytes.fromhex(root) for size, root in case["own"].items()}
        head = (found["size"], bytes.fromhex(found["root"])) if found else None
        assert (witness.hold_own(head, own, case["kept"]) if head else "nothing") == case["answer"]
        return
    found = expect(case["answer"], case["rule"], act)
    assert name.startswith("w") == (found is None)
    assert found is None or found.items() <= case.items()


def test_the_vectors_of_the_witness_are_what_their_program_writes(tmp_path: Path) -> None:
    program = (VECTORS / "witness" / "make.py").read_text()
    (tmp_path / "make.py").write_text(program)
    subprocess.run([sys.executable, str(tmp_path / "make.py")], check=True)
    made = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.name != "make.py"}
    kept = {path.name: path.read_bytes() for path in (VECTORS / "witness").glob("*.*") if path.name != "make.py"}
    assert made == kept


def test_the_second_reader_loads_none_of_tidegates_code() -> None:
    modules = ", ".join(f"second_reader.{path.stem}" for path in Path(read.__file__).parent.glob("*.py"))
    program = f"import sys, {modules}; print(*(n.split('.')[0] for n in sys.modules))"
    found = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": str(VECTORS.parent)},
        capture_output=True,
        check=True,
        text=True,
    )
    loaded = set(found.stdout.split())
    assert "nacl" in loaded
    assert not [name for name in loaded if name.startswith("tidegate") or name in ("numpy", "rfc8785", "msgspec")]


# --- what Tidegate really writes --------------------------------------------------------------------------------------


def noise(length: int, seed: str) -> bytes:
    """Bytes that no compressor makes shorter, the same in every run."""
    return hashlib.shake_256(seed.encode()).digest(length)


@dataclass(frozen=True)
class Site:
    """A low side that packed a folder twice, the second time leaving out what the first brought, and sent each."""

    root: Path
    folder: Path
    pairing: Path

    def tidegate(self, *arguments: str) -> str:
        command = [Path(sys.executable).with_name("tidegate"), *arguments]
        surroundings = {**os.environ, "TIDEGATE_ROOT": str(self.root)}
        done = subprocess.run(
            command, cwd=self.root.parent, env=surroundings, capture_output=True, check=False, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    @property
    def channel(self) -> str:
        return trust.read_whole(self.pairing.read_bytes()).id

    def packed(self, number: int) -> Path:
        (found,) = (self.root / "spool").glob(f"*-{number:04}-*.tgb")
        return found

    def volume(self, number: int) -> Path:
        (found,) = (self.root.parent / f"medium-{number}").glob("**/*.TGV")
        return found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    base = tmp_path_factory.mktemp("low")
    folder = base / "My Docs"
    (folder / "a" / "deep").mkdir(parents=True)
    (folder / "empty").mkdir()
    (folder / "noise.bin").write_bytes(noise(300_000, "noise"))
    (folder / "a" / "text.txt").write_text("".join(f"line {i}\n" for i in range(60_000)))
    (folder / "a" / "deep" / ("x" * 90)).write_text("a path that needs a prefix")
    (folder / "a" / "Grüße.txt").write_text("a path that needs a pax header\n")
    (folder / "a" / "tool").write_bytes(b"#!/bin/sh\n")
    (folder / "a" / "tool").chmod(0o755)
    (folder / "link").symlink_to("a/tool")
    site = Site(base / "root", folder, base / "plant.root")
    site.tidegate("init", "low", "--channel", "plant", "--site", "plant-7")
    site.tidegate("keys", "export", str(site.pairing))
    site.tidegate("pack", str(folder))
    (base / "more").mkdir()
    (base / "more" / "late.bin").write_bytes(noise(200_000, "late"))
    (base / "medium-1").mkdir()
    site.tidegate("send", "1", str(base / "medium-1"))
    site.tidegate("pack", "--since", "1", str(folder), str(base / "more"))
    (base / "medium-2").mkdir()
    site.tidegate("send", "2", str(base / "medium-2"))
    return site


def content_of(found: read.Read, before: dict[str, bytes] | None = None) -> dict[str, list[bytes]]:
    """Of each artifact of files: its title and the tars of its layers (content.md, Files)."""
    tars, blobs = {}, {**(before or {}), **found.blobs}
    for artifact in found.head.manifest["artifacts"]:
        root = json.loads(blobs[artifact["digest"].removeprefix("sha256:")])
        assert root["artifactType"] == "application/vnd.tidegate.files.v1"
        digests = [layer["digest"].removeprefix("sha256:") for layer in root["layers"]]
        tars[root["annotations"]["org.opencontainers.image.title"]] = [blobs[digest] for digest in digests]
    return tars


def test_a_packed_bundle_is_read_and_holds_the_very_files(site: Site) -> None:
    found = read.read_file(site.packed(1), site.channel)
    (tar,) = content_of(found)["My Docs"]
    with tarfile.open(fileobj=io.BytesIO(tar)) as members:
        names = {name.rstrip("/") for name in members.getnames()}
        assert names == {"My Docs"} | {str(path.relative_to(site.folder.parent)) for path in site.folder.rglob("*")}
        for member in members:
            path = site.folder.parent / member.name
            if member.isfile():
                extracted = members.extractfile(member)
                assert extracted is not None
                assert extracted.read() == path.read_bytes()
            if not member.issym():
                assert member.mode == path.stat().st_mode & 0o777


def test_a_tar_has_the_bytes_that_the_document_gives_it(site: Site) -> None:
    found = read.read_file(site.packed(1), site.channel)
    assert content_of(found)["My Docs"] == [files.make_tar("My Docs", site.folder)]


def test_a_medium_holds_the_same_head_and_blobs_as_the_packed_file(site: Site) -> None:
    for number in (1, 2):
        (found,) = read.read_medium(site.volume(number).parents[2], site.channel)
        packed = read.read_file(site.packed(number), site.channel)
        assert (found.head, found.blobs, found.lost) == (packed.head, packed.blobs, 0)


def test_a_striped_set_that_was_really_written_is_read_without_one_of_its_sticks(site: Site) -> None:
    sticks = [site.root.parent / f"share-{number}" for number in (1, 2, 3)]
    for stick in sticks:
        stick.mkdir()
    site.tidegate("send", "1", *map(str, sticks), "--spare", "1", "--accept-overhead")
    packed = read.read_file(site.packed(1), site.channel)
    for lost in sticks:
        (found,) = read.read_media([stick for stick in sticks if stick != lost], site.channel)
        assert (found.head, found.blobs) == (packed.head, packed.blobs)


def test_the_second_bundle_names_the_first_and_lists_what_it_leaves_out(site: Site) -> None:
    first, second = (read.read_file(site.packed(number), site.channel) for number in (1, 2))
    assert second.head.manifest["previous"] == {"bundle_id": first.head.id.hex(), "sequence": 1}
    assert second.head.manifest["base"] == [first.head.id.hex()]
    left_out = {item.sha256.hex(): (item.size, item.sequence) for item in second.head.required}
    assert left_out
    assert left_out == {digest: (len(first.blobs[digest]), 1) for digest in left_out}
    tars = content_of(second, first.blobs)
    assert tars["My Docs"] == content_of(first)["My Docs"]
    assert tars["more"] == [files.make_tar("more", site.folder.with_name("more"))]


def test_another_pinned_channel_is_refused(site: Site) -> None:
    with pytest.raises(RefusedError, match="T-40"):
        read.read_file(site.packed(1), "00" * 32)


def test_the_pairing_file_and_the_carried_chain_are_one(site: Site) -> None:
    assert bundle.read_file(site.packed(1).read_bytes()).preamble == site.pairing.read_bytes()


def test_chunks_are_cut_and_compressed_as_the_document_says(site: Site) -> None:
    """bundle.md, How a sender lays chunks out; with the same zstd the bytes are the same."""
    for number, codec in ((1, 1), (2, 0)):
        file = bundle.read_file(site.packed(number).read_bytes())
        found = read.read_file(site.packed(number), site.channel)
        blobs = {**read.read_file(site.packed(1), site.channel).blobs, **found.blobs}
        order: list[str] = []
        for artifact in found.head.manifest["artifacts"]:
            root = artifact["digest"].removeprefix("sha256:")
            body = json.loads(blobs[root])
            order += [root, *(item["digest"].removeprefix("sha256:") for item in (body["config"], *body["layers"]))]
        order = [digest for digest in dict.fromkeys(order) if digest in found.blobs]
        small = b"".join(blobs[digest] for digest in order if len(blobs[digest]) < 1 << 20)
        contents = [small[at : at + (4 << 20)] for at in range(0, len(small), 4 << 20)]
        assert [(chunk.raw, chunk.codec) for chunk in found.head.chunks] == [(len(one), codec) for one in contents]
        compressor = found.head.manifest["compressor"]
        if compressor["version"] == ".".join(map(str, zstandard.ZSTD_VERSION)):
            assert file.chunks == b"".join(stored(content, compressor["level"]) for content in contents)


def stored(content: bytes, level: int) -> bytes:
    middle = (len(content) - 16384) // 2
    if len(content) >= 65536:
        tried = zstandard.ZstdCompressor(level=1).compress(content[middle : middle + 16384])
        if len(tried) * 100 > 97 * 16384:
            return content
    frame = zstandard.ZstdCompressor(level=level).compress(content)
    return content if len(frame) * 100 > 99 * len(content) else frame


def chosen(length: int, redundancy: float) -> tuple[int, int, int, int]:
    """media.md, How a sender chooses: S, K, R, D of a part that one group of K' = K and D' = 8 holds."""
    size = 65536 if length >= 4 << 20 else 16384 if length >= 1 << 20 else 4096
    symbols = max(1, math.ceil(length / size))
    most = min(200, math.floor(255 / (1 + redundancy)))
    assert symbols <= 8 * most
    blocks = math.ceil(symbols / most)
    sources = math.ceil(symbols / blocks)
    repairs = min(255 - sources, max(math.ceil(sources * redundancy), min(16, max(4, sources))))
    return size, sources, repairs, min(8, blocks)


def announced(file: Path) -> tuple[announcements.Announcement, list[announcements.Run], int]:
    label = media.read_label(file.read_bytes()[: announcements.PAGE])
    found = announcements.parse_announcement(label.announcement)
    return found, announcements.lay_out(found, label.preamble_length), label.preamble_length


def test_the_code_of_each_part_is_the_one_that_the_document_chooses(site: Site) -> None:
    found, runs, preamble = announced(site.volume(1))
    for part in found.parts:
        assert (part.symbol_size, part.source_count, part.repair_count, part.interleave) == chosen(part.length, 0.1)
    assert [span[0] for span in found.spans] == [0, 1, 2, 1, 0]
    last = runs[-1]
    end = last.at + 4096 + last.records * found.parts[last.part].symbol_size
    assert site.volume(1).stat().st_size == end + 4096 + -(-preamble // 4096) * 4096 + 4096


def places_of(found: announcements.Announcement, runs: list[announcements.Run], part: int) -> list[int]:
    """Where the records of a part lie in a file."""
    size = found.parts[part].symbol_size
    return [run.at + 4096 + i * size for run in runs if run.part == part for i in range(run.records)]


def damaged(site: Site, to: Path, places: list[int]) -> Path:
    """A copy of the first medium with one byte wrong at each of these places."""
    data = bytearray(site.volume(1).read_bytes())
    for place in places:
        data[place + 1000] ^= 1
    to.mkdir()
    (to / "renamed").write_bytes(data)
    return to


def test_as_many_damaged_records_as_there_are_repairs_are_mended(site: Site, tmp_path: Path) -> None:
    found, runs, _ = announced(site.volume(1))
    places = places_of(found, runs, 2)
    repairs = found.parts[2].repair_count
    assert found.parts[2].block_count == 1
    whole = read.read_file(site.packed(1), site.channel).blobs
    for name, lost in (
        ("in one run", places[40 : 40 + repairs]),
        ("spread", places[:: len(places) // repairs][:repairs]),
    ):
        (mended,) = read.read_medium(damaged(site, tmp_path / name, lost), site.channel)
        assert mended.blobs == whole
        assert mended.lost == repairs


def test_one_damaged_record_more_is_named_and_nothing_is_given_out(site: Site, tmp_path: Path) -> None:
    found, runs, _ = announced(site.volume(1))
    places = places_of(found, runs, 2)[: found.parts[2].repair_count + 1]
    with pytest.raises(RefusedError, match="E-13: part 2, block 0"):
        list(read.read_medium(damaged(site, tmp_path / "medium", places), site.channel))


def test_cover_and_head_are_read_from_their_other_place(site: Site, tmp_path: Path) -> None:
    found, runs, _ = announced(site.volume(1))
    places = [place for part in (0, 1) for place in places_of(found, runs, part)]
    first_places = [place for place in places if place < places_of(found, runs, 2)[0]]
    assert len(first_places) * 2 == len(places)
    (mended,) = read.read_medium(damaged(site, tmp_path / "medium", first_places), site.channel)
    assert mended.blobs == read.read_file(site.packed(1), site.channel).blobs


def test_a_volume_without_its_labels_is_found_by_an_index_block(site: Site, tmp_path: Path) -> None:
    size = site.volume(1).stat().st_size
    (found,) = read.read_medium(damaged(site, tmp_path / "medium", [0, size - 4096]), site.channel)
    assert found.blobs == read.read_file(site.packed(1), site.channel).blobs


def test_the_preamble_at_the_end_serves_when_the_first_one_and_all_labels_are_destroyed(
    site: Site, tmp_path: Path
) -> None:
    size = site.volume(1).stat().st_size
    (found,) = read.read_medium(damaged(site, tmp_path / "medium", [0, 4096, size - 4096]), site.channel)
    assert found.blobs == read.read_file(site.packed(1), site.channel).blobs


# --- the ledger -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def log(site: Site) -> ledger.Ledger:
    root = trust.read_whole((site.root / "trust" / "channel.root").read_bytes()).newest
    (name,) = root.roles["ledger"].keys
    public = root.ed25519(name)
    assert public is not None
    return ledger.Ledger(site.root / "ledger", ledger.make_key("plant/low", public))


def test_the_ledger_of_a_real_root_holds(log: ledger.Ledger) -> None:
    assert log.findings == []
    assert log.checkpoint.size == len(log.entries) > 0


def test_a_bundle_carries_a_checkpoint_of_that_ledger(site: Site, log: ledger.Ledger) -> None:
    for number in (1, 2):
        checkpoint = read.read_file(site.packed(number), site.channel).checkpoint
        assert checkpoint is not None
        log.compare(checkpoint)
    assert log.findings == []


def documented() -> Iterator[tuple[str, set[str]]]:
    """Words that ledger.md lists: fields of an entry, events, outcomes."""
    text = (Path(__file__).resolve().parents[2] / "docs" / "format" / "ledger.md").read_text()
    table = text[text.index("## Entry") : text.index("Texts from outside")]
    rows = [row for row in table.splitlines() if row.startswith("| `")]
    yield "fields", {word for row in rows for word in re.findall(r"`([a-z_]+)`", row)}
    yield "outcomes", set(re.findall(r"`([a-z]+)`", next(row for row in rows if row.startswith("| `outcome`"))))
    yield "events", set(re.findall(r"`([a-z-]+)`", text[text.index("Events: ") : text.index("A reader keeps others")]))


def test_entries_have_the_fields_and_words_that_the_document_lists(site: Site, log: ledger.Ledger) -> None:
    words = dict(documented())
    events = []
    for data in log.entries:
        entry = ledger.read_entry(data)
        assert set(entry) <= words["fields"]
        assert entry["outcome"] in words["outcomes"]
        assert entry["event"] in words["events"]
        events.append(entry["event"])
    assert {"init", "collect", "pack", "sign", "write", "read-back", "send"} <= set(events)


def test_the_command_line_prints_names_and_refuses_another_pin(site: Site) -> None:
    command = [sys.executable, str(Path(read.__file__)), str(site.packed(1)), "--pin"]
    done = subprocess.run([*command, site.channel], capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stderr
    assert "artifact files/my-docs files sha256:" in done.stdout
    done = subprocess.run([*command, "11" * 32], capture_output=True, check=False, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("refused, T-40")


# --- over a link, and back from the other side ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sent(site: Site) -> list[bytes]:
    """The datagrams of the first bundle, as they came."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(1)
        found, over = [], threading.Event()

        def listen() -> None:
            while True:
                try:
                    found.append(listener.recv(65535))
                except TimeoutError:
                    if over.is_set():
                        return

        listening = threading.Thread(target=listen)
        listening.start()
        try:
            address = f"udp://127.0.0.1:{listener.getsockname()[1]}"
            site.tidegate("send", "1", address, "--rate", "20mbit", "--mtu", "1500")
        finally:
            over.set()
            listening.join()
    return found


def heard(datagrams: list[bytes], channel: str) -> tuple[stream.Link, read.Read]:
    chains = []

    def verify(link: stream.Link, frame: announcements.Frame) -> None:
        (preamble,) = link.preambles.values()
        chains.append(read.read_chain(preamble, channel))
        trust.verify_announcement(chains[0].newest, *frame)

    link = stream.Link(verify).take_all(datagrams)
    _, found = only(link)
    return link, read.check(chains[0], found.parts(), found.announcement.body["manifest_length"])


def test_a_session_that_was_really_sent_is_read(site: Site, sent: list[bytes]) -> None:
    link, found = heard(sent, site.channel)
    packed = read.read_file(site.packed(1), site.channel)
    assert (found.head, found.blobs) == (packed.head, packed.blobs)
    tag, session = only(link)
    body = session.announcement.body
    assert (body["bundle_id"], body["sequence"]) == (packed.head.id.hex(), 1)
    assert (link.ignored, link.lost(tag)) == ([], 0)


def test_a_session_with_losses_is_mended(site: Site, sent: list[bytes]) -> None:
    _, whole = only(heard(sent, site.channel)[0])
    lost: Counter[tuple[int, int]] = Counter()
    kept = []
    for one in sent:
        datagram = stream.read_datagram(one)
        block = datagram.part, datagram.block
        if datagram.kind == stream.DATA and lost[block] < whole.announcement.parts[datagram.part].repair_count:
            lost[block] += 1  # as many of each block as it bears
        else:
            kept.append(one)
    link, found = heard(kept, site.channel)
    assert found.blobs == read.read_file(site.packed(1), site.channel).blobs
    assert link.lost(only(link)[0]) > len(lost)


@dataclass(frozen=True)
class Gap:
    """What the high side showed after it received and loaded the first bundle."""

    site: Site
    high: Path
    key: str
    words: tuple[str, str]
    printed: str
    code: str
    baseline: Path

    @property
    def vkey(self) -> ledger.Key:
        return ledger.read_vkey(slip.read_site_key(self.key))


@pytest.fixture(scope="module")
def gap(site: Site) -> Gap:
    """Up with the first bundle, back with a slip, a proof and a baseline, up with a third bundle on a known stick."""
    base = site.root.parent
    high = ("--root", str(base / "high"))

    def words(printed: str) -> str:
        return next(line for line in printed.splitlines() if line.startswith("fingerprint: "))[13:]

    site.tidegate("init", "high", *high, "--site", "plant-7")
    channel = words(site.tidegate("keys", "export", str(base / "again.root")))
    site.tidegate("trust", "add", *high, str(site.pairing), "--fingerprint", channel)
    received = site.tidegate("receive", *high, str(base / "medium-1"))
    shown = words(site.tidegate("keys", "export", *high, str(base / "site.key")))
    site.tidegate("trust", "add", str(base / "site.key"), "--fingerprint", shown)
    site.tidegate("slip", "print", *high, "--out", str(base / "slip.txt"))
    site.tidegate("slip", "read", str(base / "slip.txt"))
    site.tidegate("load", *high, "1")
    site.tidegate("baseline", "write", *high, "--out", str(base / "plant-7.baseline"))
    seen = slip.read_slip((base / "slip.txt").read_text()).size
    site.tidegate("slip", "print", *high, "--proof-from", str(seen), "--out", str(base / "slip-2.txt"))
    (base / "third").mkdir()
    (base / "third" / "file").write_bytes(noise(50_000, "third"))
    site.tidegate("pack", str(base / "third"))
    (base / "known").mkdir()
    site.tidegate("media", "register", str(base / "known"), "STICK-07")
    site.tidegate("send", "3", str(base / "known"))
    (code,) = re.findall(r"for the office: ([0-9A-Za-z-]+)", received)
    texts = [(base / name).read_text() for name in ("site.key", "slip-2.txt")]
    return Gap(site, base / "high", texts[0], (channel, shown), texts[1], code, base / "plant-7.baseline")


def test_the_words_that_people_compare_are_those_of_the_documents(gap: Gap) -> None:
    """trust.md, Fingerprint; slip.md, S-8."""
    key = hashlib.sha256(slip.read_site_key(gap.key).encode()).digest()
    assert gap.words == (trust.words(bytes.fromhex(gap.site.channel)), trust.words(key))


def test_a_printed_slip_and_its_proof_hold(gap: Gap) -> None:
    lines = gap.printed.splitlines()
    found = slip.read_slip("\n".join(lines[:8]))
    slip.verify(found, gap.site.channel, gap.vkey.public)
    bundle_id = bundle.read_file(gap.site.packed(1).read_bytes()).bundle_id
    assert (found.site, found.held, found.missing) == ("plant-7", [range(1, 2)], [])
    assert found.sum == slip.sum_of(found.held, {1: bundle_id})
    first = slip.read_slip((gap.site.root.parent / "slip.txt").read_text())
    assert slip.read_proof("\n".join(lines[8:]), found.size, found.root) == (first.size, first.root)
    log = ledger.Ledger(gap.high / "ledger", gap.vkey)
    for head in (first, found):
        log.compare(ledger.Checkpoint(gap.vkey.name, head.size, head.root))
    assert log.findings == []


def test_the_code_of_a_bundle_is_the_one_that_its_content_gives(gap: Gap) -> None:
    found = read.read_file(gap.site.packed(1), gap.site.channel)
    receipt = slip.receipt_of(found.head.id, list(found.blobs.values()))
    proof = slip.proof_of(gap.site.channel, 1, 1, "plant-7", receipt)
    assert slip.read_code(gap.code) == slip.Code(gap.site.channel[:4], 1, proof)
    assert str(slip.read_code(gap.code)) == gap.code == slip.read_slip(gap.printed.split("PROOF")[0]).code


def test_a_written_baseline_names_the_blobs_that_were_loaded(gap: Gap) -> None:
    data = gap.baseline.read_bytes()
    found = baseline.read_baseline(data, "plant-7", gap.vkey.public)
    blobs = read.read_file(gap.site.packed(1), gap.site.channel).blobs
    assert found.sizes == {digest: len(blob) for digest, blob in blobs.items()}
    expect("refused", "I-8", lambda: baseline.read_baseline(data, "plant-8", gap.vkey.public))
    expect("refused", "I-3", lambda: baseline.read_baseline(data, "plant-7", SLIP_KEY))
    expect("refused", "I-2", lambda: baseline.read_baseline(data + b"\0", "plant-7", gap.vkey.public))
    expect("refused", "I-1", lambda: baseline.read_baseline(b"X" + data[1:], "plant-7", gap.vkey.public))


def test_a_registered_medium_carries_a_token_that_counts(gap: Gap) -> None:
    root = trust.read_whole(gap.site.pairing.read_bytes()).newest
    keys = [medium_token.CarrierKey(gap.site.channel, root.ed25519(name) or b"") for name in root.roles["carrier"].keys]
    (file,) = (gap.site.root.parent / "known" / "TIDEGATE").glob("MEDIUM.TGM")
    body = medium_token.read_token(file.read_bytes(), keys)
    assert (body["label"], body["counter"]) == ("STICK-07", 2)


def test_covers_show_the_low_sides_log_and_a_head_of_the_sites_that_was_cosigned(gap: Gap) -> None:
    root = trust.read_whole(gap.site.pairing.read_bytes()).newest
    keys = [root.ed25519(name) or b"" for name in root.roles["ledger"].keys]
    log = ledger.Ledger(gap.site.root / "ledger", ledger.make_key("plant/low", keys[0]))
    remembered: dict[int, bytes] = {}
    answers = []
    for number in (1, 2, 3):
        pieces = bundle.read_cover(bundle.read_file(gap.site.packed(number).read_bytes()).cover)
        shown = witness.read_shown(pieces, "plant/low", keys)
        assert shown.checkpoint is not None
        assert shown.entries is not None
        assert shown.broken == []
        assert shown.entries.entries == log.entries[shown.entries.first : shown.checkpoint.size]
        assert shown.heads == {size: ledger.tree_root(log.leaves[:size]) for size in shown.heads}
        answers.append(witness.answer(remembered, shown))
        remembered |= shown.heads
    assert answers == ["first", "linked", "linked"]
    head, _ = witness.read_cosignature(pieces[5], gap.vkey, "plant/low", keys)
    first = slip.read_slip((gap.site.root.parent / "slip.txt").read_text())
    assert (head.size, head.root) == (first.size, first.root)
    assert pieces[5].decode().startswith(first.note(gap.site.channel) + "\n")


def written(file: bundle.File, cover: bytes, carrier: Path) -> list[bytes]:
    """A session of a bundle, with a cover of our own, as stream.md says and signed by the carrier's key."""
    manifest = json.loads(file.head[: file.manifest_length])
    parts = [cover, file.head, file.chunks]
    fields = ("length", "source_count", "repair_count", "symbol_size", "interleave")
    codes = [erasure.Geometry(len(part), 200, 1, 1440, 1) for part in parts]
    body = {name: manifest[name] for name in ("channel", "epoch", "sequence")} | {
        "bundle_id": file.bundle_id.hex(),
        "carrier": "stream",
        "critical": [],
        "format": 1,
        "manifest_length": file.manifest_length,
        "parts": [{name: getattr(code, name) for name in fields} for code in codes],
        "set": os.urandom(8).hex(),
        "spans": [[part, 0, codes[part].group_count] for part in (0, 1, 2, 1, 0)],
        "volume": 1,
    }
    payload = ground.canonical(body)
    key = trust.read_key_file(carrier.read_bytes(), None)
    head = struct.pack("<4sHH", b"TGA1", len(payload), 0) + bytes.fromhex(trust.key_id(bytes(key.verify_key)))
    announced = head + key.sign(trust.pae(trust.ANNOUNCEMENT, payload)).signature + payload
    tag, preamble = ground.blake(announced)[:8], ground.blake(file.preamble)[:8]
    pieces = [file.preamble[at : at + 1400] for at in range(0, len(file.preamble), 1400)]
    datagrams = [
        stream.Datagram(stream.TRUST, 0, 0, preamble, i, i, len(pieces), piece) for i, piece in enumerate(pieces)
    ]
    found = [stream.Datagram(stream.ANNOUNCED, 0, 0, tag, 0, 0, 0, announced)]
    for number in (0, 1, 2, 1, 0):
        code, data = codes[number], parts[number]
        for block in range(code.block_count):
            for symbol in range(code.sources_of(block)):
                at = (code.first_symbol(block) + symbol) * 1440
                found.append(stream.Datagram(stream.DATA, number, symbol, tag, block, 0, 0, data[at : at + 1440]))
    found += [found[0], *[stream.Datagram(stream.END, 0, 0, tag, 0, 0, 0, b"")] * 3]
    for i, one in enumerate(found):
        datagrams.append(one._replace(running=i, block=i if one.kind == stream.END else one.block))
    return [stream.write_datagram(one) for one in datagrams]


def test_tidegate_takes_a_session_written_from_the_document_and_answers_as_its_witness(gap: Gap) -> None:
    """The third bundle, whose cover has nothing of the log but a checkpoint; then it reaches nothing: unlinked."""
    file = bundle.read_file(gap.site.packed(3).read_bytes())
    pieces = bundle.read_cover(file.cover)
    cover = b"".join(struct.pack("<HHI", kind, kind == 1, len(pieces[kind])) + pieces[kind] for kind in (1, 2))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind(("127.0.0.1", 0))
        port = sender.getsockname()[1]
    command = [
        Path(sys.executable).with_name("tidegate"),
        "receive",
        "--root",
        str(gap.high),
        f"udp://127.0.0.1:{port}",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as receiver:
        assert receiver.stdout is not None
        try:
            assert "listening" in receiver.stdout.readline()
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                for datagram in written(file, cover, gap.site.root / "keys" / "carrier.key"):
                    sender.sendto(datagram, ("127.0.0.1", port))
                    time.sleep(0.002)
            said = receiver.stdout.readline() + receiver.stdout.readline()
        finally:
            receiver.terminate()
    assert re.search(r"received \S+-0003: undamaged", said), said
    assert "does not reach back to what was seen" in said
