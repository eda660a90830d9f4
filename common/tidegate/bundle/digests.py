"""Columns of digests: a million blobs are told, sorted and looked up as arrays, without an object for each.

A *column* holds 32 bytes a digest and compares bytewise. Its *heads*, the first eight bytes of each as a number, sort
and are looked up several times faster than the whole; digests that begin alike, which nobody gets by chance, are told
apart by all their bytes.
"""

import re
from binascii import unhexlify
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tidegate.bundle.tables import Records, keys

Column = NDArray[np.bytes_]
Heads = NDArray[np.uint64]

_NAME_LENGTH = len("sha256:") + 64
_IS_BLOB = re.compile(rb"[0-9a-f]{64}").fullmatch


def column_of(digests: Sequence[str]) -> Column:
    """``sha256:…`` names, as descriptors have them, as a column."""
    names = np.frombuffer("".join(digests).encode(), np.uint8).reshape(len(digests), _NAME_LENGTH)
    return np.frombuffer(unhexlify(names[:, -64:].tobytes()), "S32")


def column_of_files(names: Sequence[bytes]) -> Column:
    """Those of `names` that are digests as a depot writes them, 64 small hex digits, as a column."""
    joined = b"".join([name for name in names if len(name) == 64])
    try:
        # Large letters are hex digits, too; islower() is False where there is one, and where there are only digits.
        digests = unhexlify(joined) if joined.islower() else None
    except ValueError:
        digests = None
    if digests is None:  # something else lies among them, and is left out
        digests = unhexlify(b"".join(filter(_IS_BLOB, names)))
    return np.frombuffer(digests, "S32")


def heads_of(table: Records | Column) -> Heads:
    """The first eight bytes of each digest as a number that rises as they do; of records that begin with a digest."""
    view = np.dtype([("head", ">u8"), ("rest", f"V{table.dtype.itemsize - 8}")])
    heads: Heads = np.ascontiguousarray(table).view(view)["head"].astype(np.uint64)
    return heads


def are_rising(heads: Heads) -> bool:
    """Whether each is above the one before: then the digests rise, too, and each is there once."""
    return bool((heads[1:] > heads[:-1]).all())


def sorting_order(column: Column) -> NDArray[np.intp]:
    """The order in which digests rise; equal ones stay as they stand."""
    heads = heads_of(column)
    order = np.argsort(heads)
    if are_rising(heads[order]):
        return order
    order = np.argsort(heads, kind="stable")
    rising, whole = heads[order], column[order]
    if ((rising[1:] == rising[:-1]) & (whole[1:] != whole[:-1])).any():
        return np.argsort(column, kind="stable")
    return order


def places_of(wanted: Column, table: Records) -> NDArray[np.intp]:
    """Where each of `wanted` stands in `table`, whose digests rise; -1 where it is not there.

    Fast where `wanted` rises as well: then what is looked at lies side by side.
    """
    if not len(table):
        return np.full(len(wanted), -1)
    heads = heads_of(table)
    places = np.searchsorted(heads, heads_of(wanted)) if are_rising(heads) else np.searchsorted(keys(table), wanted)
    places = np.minimum(places, len(table) - 1)
    return np.where(keys(table)[places] == wanted, places, -1)
