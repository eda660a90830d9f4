"""Bundles that must not be taken, one row each: an error of its own, nothing half taken, one entry in the ledger."""

import shutil
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from made_bundles import MadeBundle, content, make_body
from receiver_world import CREATED, HighSide, LowSide, SignedBundle, signer

from tidegate.bundle.cover import Piece, build_cover
from tidegate.bundle.tables import CHUNK, Tables
from tidegate.trust.payload import Limits
from tidegate.trust.rotation import revoke_key, rotate
from tidegate_receiver.intake.outcomes import OutcomeKind, ReceiveOutcome

BLOBS = [content(1, 200_000), content(2, 70_000)]


def assert_refused(high: HighSide, outcome: ReceiveOutcome, exit_code: int, event: str) -> None:
    """Refused by its own error with a hint-bearing exit code, with one entry, and nothing left in the spool."""
    assert (outcome.kind, outcome.exit_code) == (OutcomeKind.REFUSED, exit_code), outcome.error
    assert high.events() == [event]
    assert high.spooled() == []
    assert not any((high.root / "quarantine").iterdir())


# --- who signed -------------------------------------------------------------------------------


def test_a_manifest_signed_by_a_key_that_is_not_in_the_root(low: LowSide, high: HighSide, stick: Path) -> None:
    low.write(low.bundle(BLOBS, signers=[signer("stranger")]), stick)
    assert_refused(high, high.receive_one(stick), 33, "verify-failed/signature")


def test_a_manifest_signed_by_the_carrier_key(low: LowSide, high: HighSide, stick: Path) -> None:
    low.write(low.bundle(BLOBS, signers=[low.keys["carrier"]]), stick)
    outcome = high.receive_one(stick)
    assert_refused(high, outcome, 33, "verify-failed/signature")
    assert "is not in role release" in str(outcome.error)


def test_a_manifest_signed_by_a_key_of_another_pinned_channel(tmp_path: Path, low: LowSide, stick: Path) -> None:
    other = LowSide("office")
    high = HighSide.make(tmp_path / "high", low, other)
    low.write(low.bundle(BLOBS, signers=[other.keys["release"]]), stick)
    outcome = high.receive_one(stick)
    assert_refused(high, outcome, 35, "refuse/channel-unknown")
    assert "of channel office" in str(outcome.error)


def test_a_manifest_below_the_threshold(tmp_path: Path, stick: Path) -> None:
    low = LowSide()
    second = low.add_release_key("second release", "eve", threshold=2)
    high = HighSide.make(tmp_path / "high", low)
    low.write(low.bundle(BLOBS), stick)
    outcome = high.receive_one(stick)
    assert_refused(high, outcome, 33, "verify-failed/signature")
    assert "signed by 1 of 2 holders" in str(outcome.error)
    shutil.rmtree(stick)
    low.write(low.bundle(BLOBS, signers=[low.keys["release"], second]), stick)
    assert high.receive_one(stick).kind is OutcomeKind.RECEIVED


def test_a_release_key_that_a_newer_root_on_the_medium_revokes(low: LowSide, high: HighSide, stick: Path) -> None:
    bundle = low.bundle(BLOBS)
    low.add_release_key("fresh release", "ada")
    low.chain = revoke_key(low.chain, low.keys["release"].key_id, [low.keys["root"]], CREATED, reason="lost")
    low.write(bundle, stick)
    outcome = high.receive_one(stick)
    assert (outcome.kind, outcome.exit_code) == (OutcomeKind.REFUSED, 34)
    # The root was taken first, and with an entry of its own before and after.
    assert high.events() == ["root-change", "root-change", "verify-failed/key-revoked"]
    workspace = high.workspace()
    assert workspace.trust.chains()[0].newest.version == 3
    workspace.state.close()


def test_a_medium_of_a_channel_that_is_not_pinned(high: HighSide, stick: Path) -> None:
    stranger = LowSide("stranger")
    stranger.write(stranger.bundle(BLOBS), stick)
    outcome = high.receive_one(stick)
    assert_refused(high, outcome, 35, "media-rejected/channel-unknown")
    assert stranger.chain.channel_id[:16] in str(outcome.error)


def test_an_announcement_by_a_key_that_is_no_carrier(low: LowSide, high: HighSide, stick: Path) -> None:
    low.write(low.bundle(BLOBS), stick, carrier=low.keys["release"])
    assert_refused(high, high.receive_one(stick), 33, "media-rejected/signature")


def test_an_announcement_by_a_stranger_under_an_honest_preamble(low: LowSide, high: HighSide, stick: Path) -> None:
    low.write(low.bundle(BLOBS), stick, carrier=signer("stranger"))
    assert_refused(high, high.receive_one(stick), 33, "media-rejected/signature")


def test_a_preamble_that_is_no_chain(low: LowSide, high: HighSide, stick: Path) -> None:
    low.write(low.bundle(BLOBS), stick, preamble=b"no chain\n")
    assert_refused(high, high.receive_one(stick), 31, "media-rejected/format")


def test_a_preamble_that_tells_another_story_of_the_root(low: LowSide, high: HighSide, stick: Path) -> None:
    honest = rotate(low.chain, [low.keys["root"]], CREATED)
    forked = rotate(low.chain, [low.keys["root"]], CREATED + 60)
    workspace = high.workspace()
    workspace.trust.advance(honest)
    workspace.state.close()
    low.chain = forked
    low.write(low.bundle(BLOBS), stick)
    assert_refused(high, high.receive_one(stick), 82, "media-rejected/rotation")


def test_a_damaged_preamble_is_no_harm_when_the_carrier_key_is_known(low: LowSide, high: HighSide, stick: Path) -> None:
    (file,) = low.write(low.bundle(BLOBS), stick)
    data = bytearray(file.read_bytes())
    needle = low.chain.to_bytes()[:64]
    at = -1
    while (at := data.find(needle, at + 1)) >= 0:
        data[at] ^= 1
    file.write_bytes(data)
    assert high.receive_one(stick).kind is OutcomeKind.RECEIVED


def test_a_root_that_has_expired_by_a_clock_that_counts(low: LowSide, high: HighSide, stick: Path) -> None:
    low.chain = rotate(low.chain, [low.keys["root"]], CREATED, expires="2026-02-27T00:00:00Z")
    low.write(low.bundle(BLOBS), stick)
    outcome = high.receive_one(stick, clock_trusted=True)
    assert (outcome.kind, outcome.exit_code) == (OutcomeKind.REFUSED, 37)
    assert high.events()[-1] == "media-rejected/expired"


# --- flipped bytes ----------------------------------------------------------------------------


def tampered(bundle: SignedBundle, part: int, offset: int) -> MadeBundle:
    """The bundle with one byte flipped in a part, written with digests beside its records that agree."""

    class Tampered(SignedBundle):
        @property
        def parts(self) -> tuple[bytes, bytes, bytes]:
            parts = [bytearray(data) for data in super().parts]
            parts[part][offset] ^= 0x20
            return (bytes(parts[0]), bytes(parts[1]), bytes(parts[2]))

        @property
        def bundle_id(self) -> str:
            return sha256(self.manifest_bytes).hexdigest()

    return Tampered(bundle.facts, bundle.manifest_bytes, bundle.body, bundle.cover)


def test_a_flipped_byte_in_the_signature(low: LowSide, high: HighSide, stick: Path) -> None:
    bundle = low.bundle(BLOBS)
    low.write(tampered(bundle, 0, bundle.cover.index(b'"sig":"') + 20), stick)
    outcome = high.receive_one(stick)
    assert outcome.exit_code in {31, 33}
    assert_refused(high, outcome, outcome.exit_code, high.events()[0])


def test_a_flipped_byte_in_the_manifest(low: LowSide, high: HighSide, stick: Path) -> None:
    bundle = low.bundle(BLOBS)
    low.write(tampered(bundle, 1, 100), stick)
    assert_refused(high, high.receive_one(stick), 33, "verify-failed/signature")


@pytest.mark.parametrize("place", [10, 70, 200, -3])
def test_a_flipped_byte_in_a_table(place: int, low: LowSide, high: HighSide, stick: Path) -> None:
    bundle = low.bundle(BLOBS)
    offset = place + len(bundle.manifest_bytes) if place > 0 else len(bundle.head) + place
    low.write(tampered(bundle, 1, offset), stick)
    outcome = high.receive_one(stick)
    assert_refused(high, outcome, 38, "verify-failed/digest")
    assert high.rows() == ()  # this copy lies; the bundle itself may be honest


def test_a_flipped_byte_in_a_chunk(low: LowSide, high: HighSide, stick: Path, tmp_path: Path) -> None:
    bundle = low.bundle(BLOBS)
    low.write(tampered(bundle, 2, 90_000), stick)
    outcome = high.receive_one(stick)
    assert (outcome.kind, outcome.exit_code) == (OutcomeKind.REFUSED, 38)
    assert high.events() == ["verify-failed/digest"]
    assert high.state_of(bundle) == "incomplete"
    low.write(bundle, tmp_path / "honest")
    assert high.receive_one(tmp_path / "honest").kind is OutcomeKind.RECEIVED
    assert high.holds(bundle, BLOBS)


@pytest.mark.parametrize(("part", "offset"), [(0, 150), (1, 100), (2, 90_000)], ids=["cover", "manifest", "chunk"])
def test_a_lying_copy_beside_an_honest_one(part: int, offset: int, low: LowSide, high: HighSide, stick: Path) -> None:
    bundle = low.bundle(BLOBS)
    low.write(tampered(bundle, part, offset), stick)
    honest = stick / "TIDEGATE" / "honest"
    honest.mkdir()
    low.write(bundle, honest)
    assert high.receive_one(stick).kind is OutcomeKind.RECEIVED
    assert high.holds(bundle, BLOBS)


# --- what is not for here, or not for now -----------------------------------------------------


def test_a_bundle_for_another_site(low: LowSide, high: HighSide, stick: Path) -> None:
    low.write(low.bundle(BLOBS, audience=("plant-8", "plant-9")), stick)
    assert_refused(high, high.receive_one(stick), 36, "refuse/audience")


def test_a_bundle_that_expired_by_the_floor_of_time(low: LowSide, high: HighSide, stick: Path, tmp_path: Path) -> None:
    low.write(low.bundle([content(9, 100)], created="2026-03-09T00:00:00Z"), tmp_path / "first")
    high.receive_one(tmp_path / "first")
    low.write(low.bundle(BLOBS, sequence=2, expires="2026-03-04T00:00:00Z"), stick)
    outcome = high.receive_one(stick)
    assert (outcome.kind, outcome.exit_code) == (OutcomeKind.REFUSED, 37)
    assert high.events()[-1] == "expired/expired"
    assert [row.state.value for row in high.rows()] == ["quarantined", "refused"]


def test_a_bundle_that_expired_by_a_clock_that_counts(low: LowSide, high: HighSide, stick: Path) -> None:
    low.write(low.bundle(BLOBS, expires="2026-03-08T00:00:00Z"), stick)
    assert_refused(high, high.receive_one(stick, clock_trusted=True), 37, "expired/expired")


def test_a_clock_that_does_not_count_expires_nothing(low: LowSide, high: HighSide, stick: Path) -> None:
    low.write(low.bundle(BLOBS, expires="2026-03-08T00:00:00Z"), stick)
    assert high.receive_one(stick).kind is OutcomeKind.RECEIVED


def test_a_bundle_created_far_ahead_of_all_that_is_known(
    low: LowSide, high: HighSide, stick: Path, tmp_path: Path
) -> None:
    low.write(low.bundle([content(9, 100)]), tmp_path / "first")
    high.receive_one(tmp_path / "first")
    low.write(low.bundle(BLOBS, sequence=2, created="2099-01-01T00:00:00Z"), stick)
    outcome = high.receive_one(stick)
    assert (outcome.kind, outcome.exit_code) == (OutcomeKind.WAITING, 42)
    assert high.events()[-1] == "ahead/ahead"


def test_a_number_beyond_the_window(low: LowSide, high: HighSide, stick: Path, tmp_path: Path) -> None:
    low.write(low.bundle([content(9, 100)], sequence=2000), tmp_path / "first")
    high.receive_one(tmp_path / "first")
    for number, code, event in ((3025, 42, "ahead/ahead"), (976, 43, "stale/stale")):
        shutil.rmtree(stick, ignore_errors=True)
        low.write(low.bundle(BLOBS, sequence=number), stick)
        assert high.receive_one(stick).exit_code == code
        assert high.events()[-1] == event


def test_another_bundle_of_the_same_number_is_a_fork(low: LowSide, high: HighSide, stick: Path, tmp_path: Path) -> None:
    first = low.bundle([content(9, 100)])
    low.write(first, tmp_path / "first")
    high.receive_one(tmp_path / "first")
    low.write(low.bundle(BLOBS), stick)
    outcome = high.receive_one(stick)
    assert (outcome.kind, outcome.exit_code) == (OutcomeKind.REFUSED, 40)
    assert high.events()[-1] == "fork/fork"
    assert high.state_of(first) == "quarantined"


def test_a_bundle_of_another_epoch(low: LowSide, high: HighSide, stick: Path) -> None:
    low.write(low.bundle(BLOBS, epoch=2), stick)
    assert_refused(high, high.receive_one(stick), 41, "media-rejected/epoch")


def test_a_new_epoch_counts_from_the_beginning(low: LowSide, high: HighSide, stick: Path, tmp_path: Path) -> None:
    low.write(low.bundle([content(9, 100)], sequence=7), tmp_path / "first")
    high.receive_one(tmp_path / "first")
    low.chain = rotate(low.chain, [low.keys["root"]], CREATED, epoch=2)
    low.write(low.bundle(BLOBS, sequence=1, epoch=2), stick)
    outcome = high.receive_one(stick)
    assert (outcome.kind, outcome.is_late) == (OutcomeKind.RECEIVED, False)


def test_what_the_site_does_not_allow_the_channel(low: LowSide, tmp_path: Path, stick: Path) -> None:
    high = HighSide.make(tmp_path / "high")
    workspace = high.workspace()
    workspace.trust.pin(low.chain, workspace.signer("root"), limits=Limits(max_bytes=1000))
    workspace.state.close()
    low.write(low.bundle(BLOBS), stick)
    assert_refused(high, high.receive_one(stick), 45, "refuse/limit")


# --- lies about sizes -------------------------------------------------------------------------


def test_a_critical_feature_from_the_future_is_named(low: LowSide, high: HighSide, stick: Path) -> None:
    low.write(low.bundle(BLOBS, critical=("sealed",)), stick)
    outcome = high.receive_one(stick)
    assert_refused(high, outcome, 32, "refuse/feature-unknown")
    assert "'sealed'" in str(outcome.error)


def test_a_critical_piece_of_the_cover_is_named(low: LowSide, high: HighSide, stick: Path) -> None:
    bundle = low.bundle(BLOBS)
    cover = bundle.cover + build_cover([Piece(77, b"?", critical=True)])
    low.write(replace(bundle, cover=cover), stick)
    outcome = high.receive_one(stick)
    assert_refused(high, outcome, 32, "refuse/feature-unknown")
    assert "77" in str(outcome.error)


def lying_tables(chunks: object = None, segments: object = None) -> object:
    """A body whose signed tables do not agree with themselves."""
    body = make_body(BLOBS, chunk_bytes=16_384)
    tables = body.tables
    new_chunks, new_segments = tables.chunks.copy(), tables.segments.copy()
    if chunks is not None:
        chunks(new_chunks)  # type: ignore[operator]
    if segments is not None:
        segments(new_segments)  # type: ignore[operator]
    return replace(body, tables=Tables(tables.blobs, new_segments, new_chunks, tables.required))


def set_value(name: str, row: int, value: int) -> object:
    def change(table: object) -> None:
        table[name][row] = value  # type: ignore[index]

    return change


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        (lying_tables(chunks=set_value("raw", 0, 1 << 31)), "B-17"),
        (lying_tables(chunks=set_value("offset", 0, 1)), "B-16"),
        (lying_tables(chunks=set_value("codec", 0, 9)), "B-17"),
        (lying_tables(segments=set_value("length", 0, 1 << 60)), "B-15"),
        (lying_tables(segments=set_value("where", 0, 99)), "B-15"),
        (lying_tables(segments=set_value("kind", 0, 2)), "B-14"),
    ],
    ids=["raw", "offset", "codec", "length", "where", "kind"],
)
def test_signed_tables_that_contradict_themselves(
    body: object, rule: str, low: LowSide, high: HighSide, stick: Path
) -> None:
    low.write(low.bundle(BLOBS, body=body), stick)
    outcome = high.receive_one(stick)
    assert_refused(high, outcome, 31, "refuse/format")
    assert rule in str(outcome.error)
    assert [row.state.value for row in high.rows()] == ["refused"]


@pytest.mark.parametrize(("field", "value"), [("chunks_length", 1), ("content_size", 1 << 40)])
def test_a_manifest_that_lies_about_a_length(field: str, value: int, low: LowSide, high: HighSide, stick: Path) -> None:
    low.write(low.bundle(BLOBS, **{field: value}), stick)
    assert_refused(high, high.receive_one(stick), 31, "refuse/format")


def test_a_chunk_count_beyond_the_limit(low: LowSide, high: HighSide, stick: Path) -> None:
    body = make_body(BLOBS, chunk_bytes=16_384)
    entries = body.tables.entries()
    many = replace(entries, chunks=replace(entries.chunks, count=2**24 + 1))
    low.write(low.bundle(BLOBS, body=body, tables=many), stick)
    outcome = high.receive_one(stick)
    assert_refused(high, outcome, 31, "refuse/format")
    assert "B-10" in str(outcome.error)


def test_a_zstd_bomb_stops_at_its_signed_size(low: LowSide, high: HighSide, stick: Path) -> None:
    import blake3
    import zstandard

    # A frame of 64 MiB of zeros, signed as if it held what the blob holds.
    bomb = zstandard.ZstdCompressor(level=3).compress(bytes(64 << 20))
    blob = content(3, 50_000)
    chunks = make_body([blob], chunk_bytes=1 << 22).tables.chunks.copy()
    chunks[0] = (0, len(bomb), 50_000, 1, b"", blake3.blake3(bomb).digest())
    honest = make_body([blob], chunk_bytes=1 << 22)
    tables = Tables(honest.tables.blobs, honest.tables.segments, np_array(chunks, CHUNK), honest.tables.required)
    bundle = low.bundle([blob], body=replace(honest, tables=tables, chunks=bomb))
    low.write(bundle, stick)
    outcome = high.receive_one(stick)
    assert_refused(high, outcome, 31, "refuse/format")
    assert "says 67108864 bytes, expected 50000" in str(outcome.error)
    assert high.state_of(bundle) == "refused"


def np_array(rows: object, dtype: object) -> object:
    import numpy as np

    return np.asarray(rows, dtype)


def test_a_blob_that_its_chunks_do_not_make(low: LowSide, high: HighSide, stick: Path) -> None:
    body = make_body(BLOBS, chunk_bytes=16_384)
    blobs = body.tables.blobs.copy()
    blobs["sha256"][1] = b"\xff" * 32
    lie = replace(body, tables=Tables(blobs, *body.tables.all()[1:]))
    kept = [blob for blob in BLOBS if sha256(blob).digest() == blobs["sha256"][0].tobytes()]
    bundle = low.bundle(kept, body=lie)
    low.write(bundle, stick)
    outcome = high.receive_one(stick)
    assert_refused(high, outcome, 38, "verify-failed/digest")
    assert high.state_of(bundle) == "refused"
