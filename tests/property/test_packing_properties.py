"""Any set of blobs is laid out by the rules of the format, and any content packs to tables that a reader takes."""

from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from made_bundles import manifest_for

from tidegate.bundle.tables import CHUNK_MAX_BYTES, Tables, check_tables
from tidegate_sender.packing.layout import SMALL_BELOW_BYTES, lay_out

SIZES = (
    st.integers(1, 5000)
    | st.sampled_from([SMALL_BELOW_BYTES - 1, SMALL_BELOW_BYTES, CHUNK_MAX_BYTES - 1, CHUNK_MAX_BYTES])
    | st.integers(1, 3 * CHUNK_MAX_BYTES)
)


@dataclass(frozen=True, slots=True)
class Blob:
    digest: str
    size: int


@given(st.lists(SIZES, max_size=30))
def test_any_layout_keeps_the_rules_of_the_format(sizes: list[int]) -> None:
    blobs = [Blob(f"sha256:{sha256(str(number).encode()).hexdigest()}", size) for number, size in enumerate(sizes)]
    layout = lay_out(blobs)
    chunks = layout.chunks
    chunks["stored"] = chunks["raw"]
    chunks["offset"] = np.cumsum(chunks["raw"], dtype=np.uint64) - chunks["raw"]
    tables = Tables(layout.blobs, layout.segments, chunks, Tables.empty().required)
    manifest = manifest_for(tables)
    check_tables(manifest, tables)
    assert sum(chunks["raw"].tolist()) == sum(sizes)
    assert [blob.size for blob in layout.reading] == [
        *(size for size in sizes if size < SMALL_BELOW_BYTES),
        *(size for size in sizes if size >= SMALL_BELOW_BYTES),
    ]
