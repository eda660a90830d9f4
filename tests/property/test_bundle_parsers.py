"""Whatever bytes come: a value or one of our errors. Whatever is changed in a signed table: refused."""

import struct
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import blake3
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_bundles import manifest_for

from tidegate.bundle.chunks import ChunkOpener, ChunkPacker
from tidegate.bundle.container import BundleFile
from tidegate.bundle.cover import Piece, build_cover, parse_cover, signatures_piece
from tidegate.bundle.header import Extent, Header, align, build_header, parse_header
from tidegate.bundle.manifest import (
    Artifact,
    BundleReference,
    Compressor,
    Manifest,
    TableEntries,
    TableEntry,
    build_manifest,
    parse_manifest,
)
from tidegate.bundle.placement import Placement
from tidegate.bundle.tables import BLOB, CHUNK, CHUNK_RANGE, REQUIRED, SEGMENT, Tables, check_tables, parse_tables
from tidegate.errors import RefusedError

VECTORS = Path(__file__).parents[1] / "vectors" / "bundle"
HEX = st.binary(min_size=32, max_size=32).map(bytes.hex)
NAMES = st.from_regex(r"[a-z0-9](?:[a-z0-9._-]{0,20}[a-z0-9])?", fullmatch=True)
LINES = st.text(st.characters(exclude_categories=("C", "Z")), max_size=40)
ENTRIES = st.builds(TableEntry, st.integers(0, 2**22), HEX)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=20,
)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_cover_or_refused(data: bytes) -> None:
    try:
        parse_cover(data)
    except RefusedError:
        return


@given(st.lists(st.builds(Piece, st.integers(2, 65535), st.binary(max_size=50)), max_size=8), st.binary(max_size=100))
def test_a_cover_reads_back_as_it_was_built(pieces: list[Piece], envelope: bytes) -> None:
    every = (signatures_piece(envelope), *pieces)
    data = build_cover(every)
    assert parse_cover(data) == every
    assert build_cover(parse_cover(data)) == data


@given(st.binary(max_size=300) | st.from_regex(rb'\{"[a-z]+":.*\}'))
def test_any_bytes_are_a_manifest_or_refused(data: bytes) -> None:
    with pytest.raises(RefusedError):
        parse_manifest(data)


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    sequence = draw(st.integers(2, 2**53 - 1))
    artifacts = draw(
        st.lists(
            st.builds(
                Artifact,
                name=LINES.filter(bool),
                kind=NAMES,
                media_type=NAMES,
                digest=HEX.map("sha256:{}".format),
                size=st.integers(0, 2**53 - 1),
                ticket=st.none() | LINES,
            ),
            max_size=4,
            unique_by=lambda item: item.name,
        )
    )
    return Manifest(
        format=1,
        critical=(),
        channel=draw(HEX),
        channel_name=draw(NAMES),
        epoch=draw(st.integers(1, 2**31)),
        sequence=sequence,
        created="2026-01-31T08:00:00Z",
        audience=tuple(draw(st.lists(NAMES, min_size=1, max_size=3))),
        base=tuple(draw(st.lists(HEX, max_size=2))),
        compressor=Compressor("zstd", "1.5.7", draw(st.integers(-7, 22))),
        chunk_digest="blake3-256",
        chunks_length=draw(st.integers(0, 2**42)),
        content_size=draw(st.integers(0, 2**42)),
        tables=TableEntries(draw(ENTRIES), draw(ENTRIES), draw(ENTRIES), draw(ENTRIES)),
        artifacts=tuple(sorted(artifacts, key=lambda item: item.name.encode())),
        removed=tuple(draw(st.lists(LINES.filter(bool), max_size=2))),
        previous=draw(st.none() | st.builds(BundleReference, HEX, st.just(sequence - 1))),
        expires=draw(st.sampled_from([None, "2026-01-31T08:00:01Z"])),
        classification=draw(st.none() | LINES),
    )


@given(manifests())
def test_a_manifest_reads_back_as_it_was_built(manifest: Manifest) -> None:
    data = build_manifest(manifest)
    assert parse_manifest(data) == manifest
    assert build_manifest(parse_manifest(data)) == data


@given(manifests(), st.data())
def test_a_manifest_with_a_changed_byte_is_refused_or_says_something_else(
    manifest: Manifest, data: st.DataObject
) -> None:
    original = build_manifest(manifest)
    at = data.draw(st.integers(0, len(original) - 1))
    broken = original[:at] + bytes([original[at] ^ data.draw(st.integers(1, 255))]) + original[at + 1 :]
    try:
        found = parse_manifest(broken)
    except RefusedError:
        return
    assert found != manifest


@given(manifests(), st.sampled_from(list(Manifest.__slots__)), JSON)
def test_a_manifest_with_any_value_in_a_field_is_a_value_or_refused(
    manifest: Manifest, name: str, value: object
) -> None:
    import rfc8785

    from tidegate.canonical import to_builtins

    try:
        data = rfc8785.dumps(to_builtins(manifest) | {name: value})  # type: ignore[dict-item]
    except (rfc8785.CanonicalizationError, ValueError):
        return
    try:
        parse_manifest(data)
    except RefusedError:
        return


@st.composite
def table_sets(draw: st.DrawFn) -> Tables:
    """Valid tables: chunks cut into runs, runs dealt out to blobs."""
    raws = draw(st.lists(st.integers(1, 40), max_size=5))
    pieces = []
    for chunk, raw in enumerate(raws):
        cuts = sorted({0, raw, *draw(st.lists(st.integers(0, raw), max_size=3))})
        pieces += [(chunk, start, end - start) for start, end in pairwise(cuts)]
    pieces = draw(st.permutations(pieces))
    digests = sorted(draw(st.sets(st.binary(min_size=32, max_size=32), max_size=6)))
    owners = sorted(
        draw(st.lists(st.integers(0, max(len(digests) - 1, 0)), min_size=len(pieces), max_size=len(pieces)))
    )
    if pieces and not digests:
        digests = [bytes(32)]
    counts = [owners.count(number) for number in range(len(digests))]
    blobs, segments, chunks = np.zeros(len(digests), BLOB), np.zeros(len(pieces), SEGMENT), np.zeros(len(raws), CHUNK)
    for number, (where, offset, length) in enumerate(pieces):
        segments[number] = (CHUNK_RANGE, 0, where, offset, length)
    first = 0
    for number, (digest, count) in enumerate(zip(digests, counts, strict=True)):
        blobs[number] = (digest, sum(piece[2] for piece in pieces[first : first + count]), first, count)
        first += count
    chunks["raw"] = raws
    chunks["codec"] = [draw(st.integers(0, int(raw > 1))) for raw in raws]
    chunks["stored"] = [raw - int(codec) for raw, codec in zip(raws, chunks["codec"], strict=True)]
    chunks["offset"] = np.cumsum(chunks["stored"]) - chunks["stored"]
    chunks["digest"] = (
        np.frombuffer(draw(st.binary(min_size=32 * len(raws), max_size=32 * len(raws))), "V32") if raws else b""
    )
    others = sorted(draw(st.sets(st.binary(min_size=32, max_size=32), max_size=3)) - set(digests))
    required = np.zeros(len(others), REQUIRED)
    for number, digest in enumerate(others):
        required[number] = (digest, draw(st.integers(0, 2**42)), draw(st.integers(0, 4)))
    return Tables(blobs, segments, chunks, required)


@given(table_sets())
def test_valid_tables_pass_and_place_every_byte_once(tables: Tables) -> None:
    manifest = manifest_for(tables, sequence=5)
    data = build_manifest(manifest)
    head = data + b"".join(table.tobytes() for table in tables.all())
    parsed = parse_tables(head, len(data), manifest, manifest.chunks_length)
    placement = Placement.of(parsed)
    filled = [bytearray(int(size)) for size in tables.blobs["size"]]
    for chunk, raw in enumerate(tables.chunks["raw"].tolist()):
        pieces = list(placement.pieces(chunk))
        assert [piece.chunk_offset for piece in pieces] == np.cumsum([0, *(p.length for p in pieces)])[:-1].tolist()
        assert sum(piece.length for piece in pieces) == raw
        for piece in pieces:
            for at in range(piece.blob_offset, piece.blob_offset + piece.length):
                filled[piece.blob][at] += 1
    assert all(set(blob) <= {1} for blob in filled)


@given(table_sets(), st.sampled_from(["blobs", "segments", "chunks", "required"]), st.data())
def test_a_changed_record_is_refused_or_changes_no_place(tables: Tables, name: str, data: st.DataObject) -> None:
    """Signed anew, so that digests do not stand in the way: the rules alone must catch it."""
    table = getattr(tables, name)
    if not len(table):
        return
    raw = bytearray(table.tobytes())
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    changed = replace(tables, **{name: np.frombuffer(bytes(raw), table.dtype)})
    manifest = replace(manifest_for(tables, sequence=5), tables=changed.entries())
    try:
        check_tables(manifest, changed)
    except RefusedError:
        return
    field = at % table.dtype.itemsize
    # What may differ and still be a bundle: names of blobs, digests of chunks, and what is required of others.
    assert (name in {"blobs", "required"} and field < 32) or (name == "chunks" and field >= 24) or name == "required"


@given(table_sets(), st.binary(max_size=400))
def test_any_bytes_behind_a_manifest_are_tables_or_refused(tables: Tables, junk: bytes) -> None:
    manifest = manifest_for(tables, sequence=5)
    data = build_manifest(manifest)
    try:
        parse_tables(data + junk, len(data), manifest, manifest.chunks_length)
    except RefusedError:
        return


@given(st.binary(max_size=100))
def test_any_bytes_are_no_header(data: bytes) -> None:
    for given_bytes in (data, data.ljust(4096, b"\0"), (b"TGB1" + data).ljust(4096, b"\0")):
        with pytest.raises(RefusedError):
            parse_header(given_bytes)


@given(st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 20000), min_size=8, max_size=8), st.integers(0, 2**32 - 1))
def test_any_fields_under_a_right_digest_are_a_header_or_refused(fields: list[int], length: int) -> None:
    *numbers, preamble_offset = fields
    body = struct.pack("<4sI7Q32sI4xQ", b"TGB1", 1, *numbers, bytes(32), length, preamble_offset).ljust(4064, b"\0")
    try:
        header = parse_header(body + blake3.blake3(body).digest())
    except RefusedError:
        return
    assert build_header(header)[:4064] == body


@given(st.lists(st.integers(0, 20000), min_size=4, max_size=4), st.permutations(range(4)), HEX)
def test_a_header_reads_back_in_any_order_of_its_parts(lengths: list[int], order: list[int], bundle_id: str) -> None:
    extents = [Extent(0, 0)] * 4
    offset = 4096
    # Parts of no length come first where two start at one place.
    for part in order:
        extents[part] = Extent(offset, lengths[part])
        offset = align(extents[part].end)
    cover, head, chunks, preamble = extents
    header = Header(cover, head, chunks, head.length // 2, bundle_id, preamble)
    assert parse_header(build_header(header)) == header


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 20000), mask=st.integers(1, 255))
def test_a_bundle_file_with_a_changed_byte_is_refused_or_differs_in_its_cover_or_chunks(
    tmp_path_factory: pytest.TempPathFactory, at: int, mask: int
) -> None:
    data = bytearray((VECTORS / "ok_file.tgb").read_bytes())
    at %= len(data)
    data[at] ^= mask
    path = tmp_path_factory.getbasetemp() / "changed.tgb"
    path.write_bytes(data)
    try:
        with BundleFile.open(path) as bundle:
            bundle.tables()
            inside = any(extent.offset <= at < extent.end for extent in (bundle.header.cover, bundle.header.chunks))
            assert inside or bundle.header.preamble.offset <= at
            bundle.cover()
    except RefusedError:
        return


@given(st.binary(max_size=200), st.integers(0, 2), st.integers(0, 5 << 20))
def test_any_bytes_are_a_chunk_or_refused(stored: bytes, codec: int, raw: int) -> None:
    try:
        content = ChunkOpener().decode(0, stored, codec, raw)
    except RefusedError:
        return
    assert len(content) == raw


@given(st.binary(min_size=1, max_size=300), st.integers(1, 500), st.data())
def test_a_changed_frame_is_a_chunk_of_the_signed_size_or_refused(seed: bytes, times: int, data: st.DataObject) -> None:
    content = seed * times
    packed = ChunkPacker().pack(memoryview(content))
    assert bytes(ChunkOpener().open(0, packed.stored, packed.codec, packed.raw, packed.digest)) == content
    broken = bytearray(packed.stored)
    broken[data.draw(st.integers(0, len(broken) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        assert len(ChunkOpener().decode(0, broken, packed.codec, packed.raw)) == len(content)
    except RefusedError:
        return
