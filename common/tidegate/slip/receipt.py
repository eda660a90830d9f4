"""The receipt of a bundle: 32 bytes that only its content gives.

A label, an announcement or a manifest is not enough to compute it: it is a digest over sixteen samples of the blobs'
bytes, at places that the bundle_id decides. The low side computes it when it packs, the high side when the bundle is
verified. Rule S-6 of docs/format/slip.md.
"""

from collections.abc import Callable, Sequence
from hashlib import sha256

SAMPLE_COUNT = 16
SAMPLE_BYTES = 32
_RECEIPT = b"tidegate-receipt-v1\n"
_SAMPLE = b"tidegate-sample-v1\n"

#: called with (digest of a blob, offset, length): its bytes there
ReadBlob = Callable[[str, int, int], bytes]


def receipt_of(bundle_id: str, digests: Sequence[bytes], sizes: Sequence[int], read: ReadBlob) -> str:
    """The receipt as hex. `digests` (32 bytes each) and `sizes` are the columns of the blobs table."""
    from bisect import bisect_right
    from itertools import accumulate

    ends = list(accumulate(sizes))
    total = ends[-1] if ends else 0
    digest = sha256(_RECEIPT + bytes.fromhex(bundle_id))
    for number in range(SAMPLE_COUNT if total else 0):
        place = sha256(_SAMPLE + bytes.fromhex(bundle_id) + bytes([number])).digest()
        offset = int.from_bytes(place[:8], "little") % total
        at = bisect_right(ends, offset)
        within = offset - (ends[at] - sizes[at])
        digest.update(read(f"sha256:{digests[at].hex()}", within, min(SAMPLE_BYTES, sizes[at] - within)))
    return digest.hexdigest()
