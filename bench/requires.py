"""What a bundle costs that builds on a million blobs: its base, its table, and the check on the other side.

    python bench/requires.py [COUNT] [--profile]

Low side: what slips confirmed is read from the papers of an earlier bundle of COUNT blobs (every check of the format
included), the wanted blobs are split, the required table is made. High side: the tables of the new bundle are parsed
with every check, and each required blob is looked for in a depot of COUNT blobs. Figure: both together within 2 s.
"""

import argparse
import cProfile
import hashlib
import os
import pstats
import random
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from tidegate.bundle.manifest import Manifest, build_manifest, bundle_id
from tidegate.bundle.papers import MANIFEST_FILE, TABLES_FILE
from tidegate.bundle.tables import BLOB, CHUNK, CHUNK_RANGE, SEGMENT, STORED, Tables, as_bytes, parse_tables
from tidegate.config import Role
from tidegate.depot.descriptors import Descriptor
from tidegate.initialisation import initialise
from tidegate.slip.numbers import Numbers
from tidegate.state.bundles import BundleRow, BundleState, put_bundle
from tidegate.workspace import Workspace
from tidegate_receiver.intake.requirements import missing_sequences
from tidegate_sender.packing.confirmed import confirmed_base
from tidegate_sender.packing.content import Content
from tidegate_sender.packing.pack import PackOptions, _Packing
from tidegate_sender.slips.memory import Confirmed, put_confirmed

BLOB_BYTES = 16
SEED = 2026
SITE = "plant-7"
LIMIT_SECONDS = 2.0
Value = TypeVar("Value")


def carried_tables(digests: np.ndarray) -> Tables:
    """Valid tables of a bundle that brought a small blob of each digest, which rise."""
    count = len(digests)
    per_chunk = (4 << 20) // BLOB_BYTES
    chunk_count = -(-count // per_chunk)
    numbers = np.arange(count)
    blobs = np.zeros(count, BLOB)
    blobs["sha256"], blobs["size"] = digests, BLOB_BYTES
    blobs["first_segment"], blobs["segment_count"] = numbers, 1
    segments = np.zeros(count, SEGMENT)
    segments["kind"], segments["where"] = CHUNK_RANGE, numbers // per_chunk
    segments["offset"], segments["length"] = numbers % per_chunk * BLOB_BYTES, BLOB_BYTES
    raw = np.full(chunk_count, per_chunk * BLOB_BYTES)
    raw[-1] = count * BLOB_BYTES - (chunk_count - 1) * per_chunk * BLOB_BYTES
    chunks = np.zeros(chunk_count, CHUNK)
    chunks["offset"], chunks["stored"], chunks["raw"] = np.cumsum(raw) - raw, raw, raw
    chunks["codec"] = STORED
    return Tables(blobs, segments, chunks, Tables.empty().required)


def earlier_bundle(low: Workspace, draft: Manifest, tables: Tables) -> None:
    """Bundle 1 was sent and confirmed; its file is gone, and its papers are there."""
    size = len(tables.blobs) * BLOB_BYTES
    manifest = replace(draft, sequence=1, tables=tables.entries(), chunks_length=size, content_size=size)
    data = build_manifest(manifest)
    name = bundle_id(data)
    folder = low.folder("papers") / name
    folder.mkdir()
    (folder / MANIFEST_FILE).write_bytes(data)
    (folder / TABLES_FILE).write_bytes(b"".join(map(bytes, map(as_bytes, tables.all()))))
    detail = {"epoch": 1, "audience": [SITE], "base": [], "cleaned": 1}
    row = BundleRow(name, manifest.channel, 1, "low", BundleState.SENT, 1, 1, size, detail=detail)
    with low.state.transaction() as tx:
        put_bundle(tx, row)
        put_confirmed(tx, manifest.channel, 1, SITE, Confirmed(Numbers.of([1])))


def timed(name: str, work: Callable[[], Value], times: dict[str, tuple[float, float]]) -> Value:
    started, worked = time.perf_counter(), time.process_time()
    value = work()
    times[name] = (time.perf_counter() - started, time.process_time() - worked)
    return value


def measure(folder: Path, count: int, profile: cProfile.Profile | None) -> dict[str, tuple[float, float]]:
    """Seconds of each step, and those of them that this process worked."""
    raw = sorted(hashlib.sha256(number.to_bytes(8, "big")).digest() for number in range(count))
    digests = np.frombuffer(b"".join(raw), "V32")
    initialise(folder / "low", Role.LOW, channel="plant", sites=(SITE,), holder="ann", passphrase=None)
    low = Workspace.open(folder / "low")
    packing = _Packing(low, PackOptions(), lambda _done, _total: None, {})
    draft = packing.draft_manifest(Content((), {}))
    earlier_bundle(low, draft, carried_tables(digests))
    place = replace(packing.place, sequence=2)
    found = random.Random(SEED).sample(raw, len(raw))  # in the order in which images name them, not a table
    wanted = [Descriptor("application/octet-stream", f"sha256:{key.hex()}", BLOB_BYTES) for key in found]
    depot = folder / "depot"
    blobs = depot / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    for key in raw:
        fd = os.open(blobs / key.hex(), os.O_WRONLY | os.O_CREAT, 0o644)
        os.pwrite(fd, b"x" * BLOB_BYTES, 0)
        os.close(fd)
    times: dict[str, tuple[float, float]] = {}
    if profile is not None:
        profile.enable()
    base = timed("base from confirmed papers", lambda: confirmed_base(low, place, (SITE,)), times)
    selection = timed("split", lambda: base.split(wanted), times)
    required = selection.required
    tables = replace(Tables.empty(), required=required)
    manifest = replace(draft, sequence=2, tables=tables.entries(), base=selection.base_ids)
    data = timed("manifest", lambda: build_manifest(manifest), times)
    head = data + bytes(as_bytes(required))
    read = timed("tables checked", lambda: parse_tables(head, len(data), manifest, 0), times)
    missing = timed("looked for in the depot", lambda: missing_sequences(read.required, depot, {}), times)
    if profile is not None:
        profile.disable()
    assert missing == () and len(read.required) == count
    (blobs / raw[count // 2].hex()).unlink()
    assert missing_sequences(read.required, depot, {}) == (1,)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("count", nargs="?", type=int, default=1_000_000)
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    profile = cProfile.Profile() if options.profile else None
    with tempfile.TemporaryDirectory(prefix="tidegate-requires-") as folder:
        times = measure(Path(folder), options.count, profile)
    print("| step | seconds | at work |\n| --- | --- | --- |")
    for name, (seconds, worked) in times.items():
        print(f"| {name} | {seconds:.2f} | {worked:.2f} |")
    total, worked = (sum(column) for column in zip(*times.values(), strict=True))
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    verdict = "within" if worked <= LIMIT_SECONDS else "above"
    print(f"\n{options.count} blobs: {worked:.2f} s at work, {verdict} {LIMIT_SECONDS:g} s; {total:.2f} s by the clock")
    print(f"peak memory of this process, its making of the wanted blobs included: {peak_mib:.0f} MiB")
    if profile is not None:
        pstats.Stats(profile).sort_stats("cumulative").print_stats(25)


if __name__ == "__main__":
    main()
