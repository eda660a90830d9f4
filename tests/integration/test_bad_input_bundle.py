"""Bundles that must not be taken, made with the real keys of a real root: refused by name through the command.

The forger holds every key of the low side and writes what its commands never would; what he cannot forge is another
channel's key, and what lies on the high side.
"""

import shutil
import struct
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import blake3
import numpy as np
import pytest
import zstandard
from made_bundles import Body, MadeBundle, content, make_body
from receiver_world import CREATED, LowSide, SignedBundle, announced, signer
from two_sides import Side, Sides, run_plain, tidegate_command

from tidegate import canonical
from tidegate.bundle.cover import Piece, build_cover
from tidegate.bundle.tables import CHUNK, Tables
from tidegate.carrier.announcement import Announcement
from tidegate.carrier.blocks import BLOCK_BYTES, build_label, parse_label
from tidegate.carrier.frames import tag_of
from tidegate.erasure.geometry import PartGeometry
from tidegate.trust.envelope import ANNOUNCEMENT_TYPE, pae
from tidegate.trust.rotation import revoke_key

BLOBS = [content(1, 200_000), content(2, 70_000)]


@pytest.fixture
def forger(sides: Sides) -> LowSide:
    return sides.forger()


def assert_refused(sides: Sides, code: int, event: str, *texts: str) -> None:
    """By its own class and entry, naming what is wrong; nothing is there afterwards, and an honest bundle arrives."""
    answer = sides.high.fails(code, "receive", sides.stick)
    for text in texts:
        assert text in answer.err
    assert sides.high.events() == ["media-inserted done", event]
    sides.assert_untouched()
    assert_still_works(sides)


def assert_still_works(sides: Sides) -> None:
    honest = sides.forger()
    bundle = honest.bundle(BLOBS, sequence=12)
    honest.write(bundle, sides.folder / "afterwards")
    sides.high.good("receive", sides.folder / "afterwards")
    assert bundle.bundle_id in sides.high.quarantined()
    sides.high.check()


# --- who signed -------------------------------------------------------------------------------


def by_a_stranger(forger: LowSide) -> list[Any]:
    return [signer("stranger")]


def by_the_carrier_key(forger: LowSide) -> list[Any]:
    return [forger.keys["carrier"]]


def by_the_root_key(forger: LowSide) -> list[Any]:
    return [forger.keys["root"]]


@pytest.mark.parametrize("who", [by_a_stranger, by_the_carrier_key, by_the_root_key])
def test_a_manifest_signed_by_a_key_that_is_not_in_the_role(
    who: Callable[[LowSide], list[Any]], sides: Sides, forger: LowSide
) -> None:
    forger.write(forger.bundle(BLOBS, signers=who(forger), sequence=9), sides.stick)
    assert_refused(sides, 33, "verify-failed refused/signature", 'list trusted keys with "tidegate trust list"')


def test_a_manifest_signed_by_a_key_of_another_pinned_channel(sides: Sides, forger: LowSide) -> None:
    other = pin_another(sides)
    forger.write(forger.bundle(BLOBS, signers=[other.keys["release"]], sequence=9), sides.stick)
    assert_refused(sides, 35, "refuse refused/channel-unknown", "of channel office")


def test_an_announcement_signed_by_a_key_of_another_pinned_channel(sides: Sides, forger: LowSide) -> None:
    other = pin_another(sides)
    forger.write(forger.bundle(BLOBS, sequence=9), sides.stick, carrier=other.keys["carrier"])
    assert_refused(sides, 35, "media-rejected refused/channel-unknown")


def pin_another(sides: Sides) -> LowSide:
    """Another channel, pinned on the same high side by its own command."""
    root, file = sides.folder / "office", sides.folder / "office.root"
    run_plain("--root", root, "init", "low", "--channel", "office", "--site", "plant-7")
    run_plain("--root", root, "keys", "export", file)
    side = Side(root)
    words = side.good("keys", "show", "--json").objects[-1]["fingerprint"]
    sides.high.good("trust", "add", file, "--fingerprint", str(words))
    sides.high.events()
    return replace_low(sides, side)


def replace_low(sides: Sides, low: Side) -> LowSide:
    return replace(sides, low=low).forger()


def test_a_channel_that_is_not_pinned(sides: Sides) -> None:
    stranger = LowSide("stranger")
    stranger.write(stranger.bundle(BLOBS), sides.stick)
    assert_refused(sides, 35, "media-rejected refused/channel-unknown", "is not pinned here", "tidegate trust add")


def test_a_release_key_that_a_newer_root_on_the_medium_revokes(sides: Sides, forger: LowSide) -> None:
    bundle = forger.bundle(BLOBS, sequence=9)
    forger.add_release_key("fresh release", "ada")
    forger.chain = revoke_key(forger.chain, forger.keys["release"].key_id, [forger.keys["root"]], CREATED)
    forger.write(bundle, sides.stick)
    answer = sides.high.fails(34, "receive", sides.stick)
    assert "revoked" in answer.err
    changes = ["root-change begun", "root-change done"]
    assert sides.high.events() == ["media-inserted done", *changes, "verify-failed refused/key-revoked"]
    sides.assert_untouched()
    # The revocation stays: the same key under the old root is refused as well, and the new key is taken.
    old = sides.forger()
    old.write(old.bundle(BLOBS, sequence=8), elsewhere(sides, "old"))
    sides.high.fails(34, "receive", sides.folder / "old")
    forger.write(forger.bundle(BLOBS, sequence=8, signers=[signer("fresh release")]), elsewhere(sides, "new"))
    sides.high.good("receive", sides.folder / "new")
    sides.high.check()


def elsewhere(sides: Sides, name: str) -> Path:
    return sides.folder / name


# --- flipped bytes, with digests beside the records that agree -----------------------------------


def flipped(bundle: SignedBundle, part: int, offset: int) -> MadeBundle:
    class Flipped(SignedBundle):
        @property
        def parts(self) -> tuple[bytes, bytes, bytes]:
            parts = [bytearray(data) for data in super().parts]
            parts[part][offset] ^= 0x01
            return (bytes(parts[0]), bytes(parts[1]), bytes(parts[2]))

    return Flipped(bundle.facts, bundle.manifest_bytes, bundle.body, bundle.cover)


@dataclass(frozen=True)
class Place:
    """A byte of a bundle: part, offset by what is looked for, and how its change is refused."""

    part: int
    find: Callable[[SignedBundle], int]
    code: int
    event: str


def digit_after(data: bytes, marker: bytes) -> int:
    """A place behind `marker` where one digit becomes another: still hex and base64, and another value."""
    start = data.index(marker) + len(marker)
    return next(at for at in range(start, start + 60) if data[at : at + 1].isdigit())


PLACES = {
    "signature": Place(0, lambda b: digit_after(b.cover, b'"sig":"'), 33, "verify-failed refused/signature"),
    "key id": Place(0, lambda b: digit_after(b.cover, b'"keyid":"'), 33, "verify-failed refused/signature"),
    "piece length": Place(0, lambda b: 6, 31, "refuse refused/format"),
    "manifest": Place(1, lambda b: 100, 33, "verify-failed refused/signature"),
    "blobs": Place(1, lambda b: len(b.manifest_bytes) + 3, 38, "verify-failed refused/digest"),
    "last table": Place(1, lambda b: len(b.head) - 2, 38, "verify-failed refused/digest"),
}


@pytest.mark.parametrize("name", PLACES)
def test_a_flipped_byte_of_cover_or_head(name: str, sides: Sides, forger: LowSide) -> None:
    place = PLACES[name]
    bundle = forger.bundle(BLOBS, sequence=9)
    forger.write(flipped(bundle, place.part, place.find(bundle)), sides.stick)
    assert_refused(sides, place.code, place.event)


def test_a_flipped_byte_of_a_chunk_keeps_the_others_for_an_honest_copy(sides: Sides, forger: LowSide) -> None:
    bundle = forger.bundle(BLOBS)
    forger.write(flipped(bundle, 2, 90_000), sides.stick)
    answer = sides.high.fails(38, "receive", sides.stick)
    assert "chunk" in answer.err
    assert sides.high.events() == ["media-inserted done", "verify-failed refused/digest"]
    assert sides.high.states() == ["incomplete"]
    assert sides.high.quarantined() == {}
    sides.high.fails(50, "load", "1")
    forger.write(bundle, elsewhere(sides, "honest"))
    sides.high.good("receive", sides.folder / "honest")
    assert sides.high.quarantined() == {bundle.bundle_id: {sha256(blob).hexdigest() for blob in BLOBS}}
    sides.high.check()


@pytest.mark.parametrize(("part", "offset"), [(0, 150), (1, 100), (2, 90_000)], ids=["cover", "manifest", "chunk"])
def test_a_lying_copy_beside_an_honest_one_harms_nothing(part: int, offset: int, sides: Sides, forger: LowSide) -> None:
    bundle = forger.bundle(BLOBS)
    forger.write(flipped(bundle, part, offset), sides.stick)
    forger.write(bundle, sides.stick / "TIDEGATE" / "honest")
    sides.high.good("receive", sides.stick)
    assert list(sides.high.quarantined()) == [bundle.bundle_id]
    sides.high.check()


# --- lies that are signed ---------------------------------------------------------------------


def lying(**tables: Callable[[Any], None]) -> Body:
    """A body whose tables were changed after the fact; the manifest signs the lie."""
    body = make_body(BLOBS, chunk_bytes=16_384)
    changed = {name: getattr(body.tables, name).copy() for name in ("blobs", "segments", "chunks", "required")}
    for name, change in tables.items():
        change(changed[name])
    return replace(body, tables=Tables(*changed.values()))


def setting(name: str, row: int, value: int) -> Callable[[Any], None]:
    def change(table: Any) -> None:
        table[name][row] = value

    return change


SIGNED_LIES = {
    "a chunk of 2 GiB": (lying(chunks=setting("raw", 0, 1 << 31)), "B-17"),
    "a chunk of no bytes": (lying(chunks=setting("stored", 1, 0)), "B-1"),
    "an unknown codec": (lying(chunks=setting("codec", 2, 7)), "B-17"),
    "chunks that overlap": (lying(chunks=setting("offset", 1, 0)), "B-16"),
    "a blob longer than its segments": (lying(blobs=setting("size", 0, 1 << 40)), "B-13"),
    "a blob of other segments": (lying(blobs=setting("first_segment", 1, 0)), "B-12"),
    "four billion segments": (lying(blobs=setting("segment_count", 0, (1 << 32) - 1)), "B-1"),
    "a segment of another kind": (lying(segments=setting("kind", 0, 2)), "B-14"),
    "a segment beyond the chunks": (lying(segments=setting("where", 0, 1 << 31)), "B-1"),
    "a segment past its chunk": (lying(segments=setting("length", 0, 1 << 60)), "B-1"),
    "a segment that wraps around": (lying(segments=setting("offset", 0, (1 << 64) - 8)), "B-1"),
}


def test_signed_tables_that_lie_are_refused_by_rule_and_keep_no_other_bundle(sides: Sides, forger: LowSide) -> None:
    size = sum(len(blob) for blob in BLOBS)
    for number, (body, _) in enumerate(SIGNED_LIES.values(), 20):
        forger.write(forger.bundle(BLOBS, body=body, sequence=number, content_size=size), sides.stick)
    found = receive_all(sides, forger, 31)
    for number, (name, (_, rule)) in enumerate(SIGNED_LIES.items(), 20):
        assert found[number]["class"] == "FormatError", name
        assert f"({rule}" in str(found[number]["error"]), (name, found[number])
    assert sides.high.events().count("refuse refused/format") == len(SIGNED_LIES)


def receive_all(sides: Sides, forger: LowSide, code: int) -> dict[int, dict[str, Any]]:
    """Receive a stick of lying bundles and an honest one; what was said of each number. Only the honest one comes."""
    honest = forger.bundle(BLOBS, sequence=12)
    forger.write(honest, sides.stick)
    sides.high.events()
    answer = sides.high.run("receive", sides.stick, "--json")
    assert answer.code == code, answer
    assert answer.is_ours, answer
    assert sides.high.quarantined() == {honest.bundle_id: {sha256(blob).hexdigest() for blob in BLOBS}}
    assert sides.high.spooled() == []
    sides.high.check()
    found: dict[int, dict[str, Any]] = {item["sequence"]: item for item in answer.objects if "sequence" in item}  # type: ignore[misc]
    assert found[12]["outcome"] == "received"
    return found


MANIFEST_LIES: dict[str, tuple[Callable[[SignedBundle], dict[str, object]], int, str]] = {
    "more content than there is": (lambda b: {"content_size": 1 << 50}, 31, "refuse refused/format"),
    "a chunk count beyond the limit": (
        lambda b: {"tables": replace(b.facts.tables, chunks=replace(b.facts.tables.chunks, count=(1 << 24) + 1))},
        31,
        "refuse refused/format",
    ),
    "a blob count that the head has no room for": (
        lambda b: {"tables": replace(b.facts.tables, blobs=replace(b.facts.tables.blobs, count=3))},
        31,
        "refuse refused/format",
    ),
    "chunks longer than announced": (
        lambda b: {"chunks_length": b.facts.chunks_length + 1},
        31,
        "refuse refused/format",
    ),
    "artifacts out of order": (lambda b: {"artifacts": b.facts.artifacts[::-1]}, 31, "refuse refused/format"),
    "an artifact that is nowhere": (
        lambda b: {"artifacts": (replace(b.facts.artifacts[0], digest="sha256:" + "00" * 32),)},
        31,
        "refuse refused/format",
    ),
    "a name with an escape": (
        lambda b: {"artifacts": (replace(b.facts.artifacts[0], name="files/\x1b[2J"),)},
        31,
        "refuse refused/format",
    ),
    "a time that is none": (lambda b: {"created": "2026-02-30T00:00:00Z"}, 31, "refuse refused/format"),
    "a feature from the future": (lambda b: {"critical": ("sealed",)}, 32, "refuse refused/feature-unknown"),
    "another format": (lambda b: {"format": 2}, 32, "refuse refused/feature-unknown"),
    "another site": (lambda b: {"audience": ("plant-8",)}, 36, "refuse refused/audience"),
    "another channel's name": (lambda b: {"channel_name": "office"}, 31, "refuse refused/format"),
}


def test_signed_manifests_that_lie_are_refused_by_class_and_keep_no_other_bundle(sides: Sides, forger: LowSide) -> None:
    for number, (lie, _, _) in enumerate(MANIFEST_LIES.values(), 20):
        changes = lie(forger.bundle(BLOBS, sequence=number))
        forger.write(forger.bundle(BLOBS, **{"sequence": number, **changes}), sides.stick)  # type: ignore[arg-type]
    found = receive_all(sides, forger, max(code for _, code, _ in MANIFEST_LIES.values()))
    for number, (name, (_, code, _)) in enumerate(MANIFEST_LIES.items(), 20):
        assert found[number]["exit_code"] == code, (name, found[number])
    expected = sorted(event for _, _, event in MANIFEST_LIES.values())
    assert sorted(event for event in sides.high.events() if "refused" in event) == expected


def test_a_critical_piece_of_the_cover_that_nobody_knows(sides: Sides, forger: LowSide) -> None:
    bundle = forger.bundle(BLOBS, sequence=9)
    cover = bundle.cover + build_cover([Piece(77, b"?", critical=True)])
    forger.write(replace(bundle, cover=cover), sides.stick)
    assert_refused(sides, 32, "refuse refused/feature-unknown", "77")


@pytest.mark.parametrize("said", [50_000, 4 << 20], ids=["small", "the largest chunk"])
def test_a_zstd_bomb_is_never_decompressed_beyond_what_is_signed(said: int, sides: Sides, forger: LowSide) -> None:
    bomb = zstandard.ZstdCompressor(level=3).compress(bytes(256 << 20))
    blob = content(3, said)
    honest = make_body([blob], chunk_bytes=4 << 20)
    rows = np.array([(0, len(bomb), said, 1, b"", blake3.blake3(bomb).digest())], CHUNK)
    tables = Tables(honest.tables.blobs, honest.tables.segments, rows, honest.tables.required)
    forger.write(forger.bundle([blob], body=replace(honest, tables=tables, chunks=bomb), sequence=9), sides.stick)
    answer = sides.high.fails(31, "receive", sides.stick)
    assert f"says {256 << 20} bytes, expected {said}" in answer.err
    assert sides.high.events() == ["media-inserted done", "refuse refused/format"]
    assert sides.high.states() == ["refused"]
    sides.assert_untouched()
    assert_still_works(sides)


def test_a_zstd_frame_without_a_size_is_refused(sides: Sides, forger: LowSide) -> None:
    blob = bytes(50_000)
    compressor = zstandard.ZstdCompressor(level=3, write_content_size=False)
    frame = compressor.compress(blob)
    honest = make_body([blob], chunk_bytes=4 << 20)
    rows = np.array([(0, len(frame), len(blob), 1, b"", blake3.blake3(frame).digest())], CHUNK)
    tables = Tables(honest.tables.blobs, honest.tables.segments, rows, honest.tables.required)
    forger.write(forger.bundle([blob], body=replace(honest, tables=tables, chunks=frame), sequence=9), sides.stick)
    sides.high.fails(31, "receive", sides.stick)
    sides.assert_untouched()


def test_a_blob_that_its_chunks_do_not_make(sides: Sides, forger: LowSide) -> None:
    body = make_body(BLOBS, chunk_bytes=16_384)
    blobs = body.tables.blobs.copy()
    blobs["sha256"][1] = b"\xff" * 32
    lie = replace(body, tables=Tables(blobs, *body.tables.all()[1:]))
    kept = [blob for blob in BLOBS if sha256(blob).digest() == blobs["sha256"][0].tobytes()]
    forger.write(forger.bundle(kept, body=lie, sequence=9), sides.stick)
    answer = sides.high.fails(38, "receive", sides.stick)
    assert "blob" in answer.err
    assert sides.high.events() == ["media-inserted done", "verify-failed refused/digest"]
    assert sides.high.states() == ["refused"]
    sides.assert_untouched()
    assert_still_works(sides)


# --- announcements that lie -------------------------------------------------------------------


HUGE_GROUP = {"length": 1 << 40, "source_count": 200, "symbol_size": 1 << 20, "interleave": 200}
ANNOUNCED_LIES: dict[str, tuple[Callable[[Announcement], dict[str, object]], str]] = {
    "K of 255": (lambda a: {"parts": geometry_of(a, 2, source_count=255)}, "M-13"),
    "K of none": (lambda a: {"parts": geometry_of(a, 2, source_count=0)}, "M-13"),
    "R of 255": (lambda a: {"parts": geometry_of(a, 2, repair_count=255)}, "M-13"),
    "symbols of 4 GiB": (lambda a: {"parts": geometry_of(a, 2, symbol_size=1 << 32)}, "M-13"),
    "symbols that are no pages": (lambda a: {"parts": geometry_of(a, 2, symbol_size=4104)}, "M-6"),
    "a group of 50 GiB": (lambda a: {"parts": geometry_of(a, 2, **HUGE_GROUP)}, "M-13"),
    "an exabyte of chunks": (lambda a: {"parts": geometry_of(a, 2, length=1 << 52)}, "M-13"),
    "a negative length": (lambda a: {"parts": geometry_of(a, 2, length=-1)}, "M-13"),
    "a cover of a gigabyte": (lambda a: {"parts": geometry_of(a, 0, length=1 << 30)}, "M-5"),
    "a manifest longer than the head": (lambda a: {"manifest_length": a.parts[1].length + 1}, "M-5"),
    "groups that do not exist": (lambda a: {"spans": ((2, 0, 1 << 30),)}, "M-7"),
    "files of a terabyte": (lambda a: {"file_bytes": 1 << 40}, "M-13"),
}


def test_signed_announcements_that_lie_are_refused_by_rule_and_keep_no_other_bundle(
    sides: Sides, forger: LowSide
) -> None:
    for number, (lie, _) in enumerate(ANNOUNCED_LIES.values(), 20):
        medium = sides.folder / str(number)
        forger.write(forger.bundle(BLOBS, sequence=number), medium)
        replace_announcement(forger, medium, lie)
        shutil.copytree(medium / "TIDEGATE", sides.stick / "TIDEGATE", dirs_exist_ok=True)
    receive_all(sides, forger, 26)
    details = [str(entry["detail"]) for entry in sides.high.entries() if entry["event"] == "media-rejected"]
    rules = sorted(detail.rpartition("(")[2].rstrip(")") for detail in details)
    assert rules == sorted(rule for _, rule in ANNOUNCED_LIES.values()), details
    events = [event for event in sides.high.events() if event.startswith("media-rejected")]
    assert events == ["media-rejected refused/carrier-format"] * len(ANNOUNCED_LIES)


def geometry_of(announcement: Announcement, part: int, **values: int) -> tuple[PartGeometry, ...]:
    """The parts with one of them changed, past the checks that a writer has."""
    parts = list(announcement.parts)
    parts[part] = unchecked(parts[part], values)
    return tuple(parts)


def unchecked(value: Any, changes: dict[str, Any]) -> Any:
    """A frozen value with other fields, which its own class would refuse."""
    made = object.__new__(type(value))
    for item in fields(value):
        object.__setattr__(made, item.name, changes.get(item.name, getattr(value, item.name)))
    return made


def replace_announcement(forger: LowSide, medium: Path, lie: Callable[[Announcement], dict[str, object]]) -> None:
    """Put a lying announcement, signed by the carrier key, into the labels of a volume."""
    honest = announced(medium)
    payload = canonical.dumps(unchecked(honest, lie(honest)))
    key = forger.keys["carrier"]
    signature = key.sign(pae(ANNOUNCEMENT_TYPE, payload))
    data = struct.pack("<4sHH32s64s", b"TGA1", len(payload), 0, bytes.fromhex(key.key_id), signature) + payload
    for file in medium.rglob("*.TGV"):
        with file.open("r+b") as opened:
            for offset in (0, file.stat().st_size - BLOCK_BYTES):
                opened.seek(offset)
                label = replace(parse_label(opened.read(BLOCK_BYTES)), announcement=data, tag=tag_of(data))
                opened.seek(offset)
                opened.write(build_label(label))


# --- time and number --------------------------------------------------------------------------


def test_an_expired_bundle(sides: Sides, forger: LowSide) -> None:
    forger.write(forger.bundle([content(9, 100)], created="2026-11-09T00:00:00Z"), elsewhere(sides, "first"))
    sides.high.good("receive", sides.folder / "first")
    sides.high.events()
    forger.write(forger.bundle(BLOBS, sequence=2, expires="2026-03-08T00:00:00Z"), sides.stick)
    answer = sides.high.fails(37, "receive", sides.stick)
    assert "expired 2026-03-08T00:00:00Z" in answer.err
    assert "tidegate: hint: ask the low side to pack it again" in answer.err
    assert sides.high.events() == ["media-inserted done", "expired refused/expired"]
    assert sides.high.states() == ["quarantined", "refused"]
    sides.high.check()


def test_a_clock_that_is_trusted_expires_a_bundle(sides: Sides, forger: LowSide) -> None:
    forger.write(forger.bundle(BLOBS, expires="2026-03-08T00:00:00Z"), sides.stick)
    sides.high.fails(37, "receive", sides.stick, TIDEGATE_CLOCK_TRUSTED="1")
    assert sides.high.events() == ["media-inserted done", "expired refused/expired"]
    sides.assert_untouched()


def test_late_and_duplicate_bundles_are_calm(sides: Sides) -> None:
    sides.make_files(seed=1)
    first = sides.pack(seed=1)
    sides.send(first, elsewhere_folder(sides, "first"))
    second = sides.pack(seed=2)
    sides.send(second, elsewhere_folder(sides, "second"))
    sides.high.good("receive", sides.folder / "second")
    sides.high.good("load", second)
    newest = sides.high.stage()
    sides.high.events()
    answer = sides.high.good("receive", sides.folder / "first", "--json")
    assert answer.objects[-1]["late_names"] == ["files/docs"]
    assert sides.high.events() == [*RECEIVED, "late done"]
    loaded = sides.high.good("load", first)
    assert "stays as a newer bundle set it" in loaded.err
    assert sides.high.stage() == newest
    sides.high.events()
    for stick in ("first", "second"):
        answer = sides.high.good("receive", sides.folder / stick)
        assert "nothing to do" in answer.out
        assert sides.high.events() == ["media-inserted done", "duplicate nothing"]
    sides.high.check()


RECEIVED = ["media-inserted done", "receive done", "quarantine done"]


def elsewhere_folder(sides: Sides, name: str) -> Path:
    path = sides.folder / name
    path.mkdir()
    return path


NUMBERS = {
    "a fork": ({"sequence": 100}, 40, "fork refused/fork"),
    "too far ahead": ({"sequence": 1125}, 42, "ahead begun/ahead"),
    "of another epoch": ({"sequence": 101, "epoch": 2}, 41, "media-rejected refused/epoch"),
    "created in 2099": ({"sequence": 101, "created": "2099-01-01T00:00:00Z"}, 42, "ahead begun/ahead"),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_or_time_that_cannot_be_is_refused_or_waits_by_name(name: str, sides: Sides, forger: LowSide) -> None:
    first = forger.bundle([content(9, 100)], sequence=100)
    forger.write(first, elsewhere(sides, "first"))
    sides.high.good("receive", sides.folder / "first")
    sides.high.events()
    changes, code, event = NUMBERS[name]
    forger.write(forger.bundle(BLOBS, **changes), sides.stick)  # type: ignore[arg-type]
    sides.high.fails(code, "receive", sides.stick)
    waits = code == 42
    received = RECEIVED if waits else RECEIVED[:1]
    assert sides.high.events() == [*received, event]
    assert (first.bundle_id in sides.high.quarantined(), len(sides.high.quarantined())) == (True, 1 + waits)
    sides.high.check()
    forger.write(forger.bundle(BLOBS, sequence=102), elsewhere(sides, "good"))
    sides.high.good("receive", sides.folder / "good")
    sides.high.check()


# --- the packed file on the low side ----------------------------------------------------------


@pytest.mark.parametrize("where", [20, 4096 + 700, 400_000], ids=["header", "cover", "chunks"])
def test_a_bundle_file_that_went_bad_on_the_low_side_reaches_no_reader_as_good(where: int, sides: Sides) -> None:
    bundle = sides.pack()
    (path,) = (sides.low.root / "spool").glob("*.tgb")
    data = bytearray(path.read_bytes())
    data[where] ^= 0x40
    path.write_bytes(data)
    sides.low.events()
    sent = sides.low.run("send", bundle, sides.stick)
    assert sent.is_ours
    if sent.code == 0:  # its chunks are not read twice on the way out: the high side's digests decide
        code = sides.high.run("receive", sides.stick).code
        assert code in {33, 38}
        assert sides.high.quarantined() == {}
    else:
        assert list(sides.stick.rglob("*.TGV")) == []
    repacked = sides.low.good("pack", sides.folder / "docs", "--anyway", "--json").objects[-1]["bundle"]
    sides.low.good("send", str(repacked), sides.stick)
    sides.high.run("receive", sides.stick)
    sides.assert_loads(str(repacked))


def test_an_empty_root_refuses_calmly(tmp_path: Path) -> None:
    answer = run_uninitialised(tmp_path, "receive", tmp_path)
    assert answer.returncode == 71
    assert "tidegate: hint: " in answer.stderr
    assert not (tmp_path / "root").exists()


def run_uninitialised(folder: Path, *arguments: str | Path) -> Any:
    command = [*tidegate_command(), "--root", str(folder / "root"), *map(str, arguments)]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
