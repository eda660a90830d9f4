"""ISA-L through ctypes: the library inside the `pyeclib` wheel, else the system's ``libisal.so.2``.

Only three functions are used, with matrices of our own: `ec_init_tables`, `ec_encode_data`, `gf_invert_matrix`. The
library's place inside the wheel is private to it, so every candidate is searched for, held to major version 2 by its
name, and tested against a known answer before use. ctypes releases the GIL during each call.
"""

import ctypes
import importlib.metadata
import importlib.util
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tidegate.erasure.engine import Rows
from tidegate.erasure.field import Matrix, invert_matrix, multiply_matrices
from tidegate.erasure.matrices import parity_matrix

MAJOR_VERSION = 2
SYSTEM_NAMES = (f"libisal.so.{MAJOR_VERSION}", f"libisal.{MAJOR_VERSION}.dylib")
_WHEEL_NAME = re.compile(rf"libisal[^/]*\.(?:so\.{MAJOR_VERSION}(?:\.\d+)*|{MAJOR_VERSION}(?:\.\d+)*\.dylib)")
TABLE_BYTES = 32  # a coefficient, as ec_init_tables wants room for it; GFNI machines use 8 of them
#: All rows of one call together: sources are read once for every six targets, so they stay well inside an L2 cache
PIECE_TOTAL_BYTES = 400_000
PIECE_ALIGNMENT = 64  # bytes: one vector register
PIECE_MIN_BYTES = 1024


class IsalUnusableError(Exception):
    """ISA-L is not here, of another major version, or gives wrong answers; says what was tried."""


@dataclass(frozen=True, slots=True)
class IsalPlan:
    """Expanded tables of a matrix; `address` is that of `tables`, which must live as long as it is used."""

    rows: int
    columns: int
    tables: NDArray[np.uint8]
    address: int


class IsalEngine:
    """The engine that multiplies with ISA-L."""

    name = "isal"

    def __init__(self, path: str) -> None:
        """Raises OSError where the library does not load, AttributeError where it lacks a function."""
        self.path = path
        library = ctypes.CDLL(path)
        self._init_tables = library.ec_init_tables
        self._init_tables.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
        self._init_tables.restype = None
        self._encode = library.ec_encode_data
        self._encode.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int, *[ctypes.c_void_p] * 3]
        self._encode.restype = None
        self._invert = library.gf_invert_matrix
        self._invert.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int]
        self._invert.restype = ctypes.c_int

    @classmethod
    def load(cls) -> "IsalEngine":
        """The first library that loads and passes the self test; raises IsalUnusableError."""
        reasons = []
        for path in find_libraries():
            try:
                engine = cls(path)
            except (OSError, AttributeError) as error:
                reasons.append(f"{path}: {error}")
                continue
            if engine.tells_the_truth():
                return engine
            reasons.append(f"{path}: wrong answer in the self test")
        raise IsalUnusableError("ISA-L cannot be used: " + "; ".join(reasons))

    def plan(self, matrix: Matrix) -> IsalPlan:
        matrix = np.ascontiguousarray(matrix, np.uint8)
        rows, columns = matrix.shape
        tables = np.empty(TABLE_BYTES * rows * columns, np.uint8)
        address = tables.ctypes.data
        self._init_tables(columns, rows, matrix.ctypes.data, address)
        return IsalPlan(rows, columns, tables, address)

    def multiply(self, plan: IsalPlan, sources: Rows, targets: Rows, length: int) -> None:
        source_pointers = _pointers(sources)
        target_pointers = _pointers(targets)
        # Raw addresses are taken here: nothing but this check stands between a wrong call and foreign memory.
        if len(source_pointers) != plan.columns or len(target_pointers) != plan.rows:
            raise ValueError(f"{len(sources.offsets)} sources, {len(targets.offsets)} targets for another matrix")
        source_address, target_address = source_pointers.ctypes.data, target_pointers.ctypes.data
        piece = _piece_bytes(plan.rows + plan.columns)
        for start in range(0, length, piece):
            if start:
                source_pointers += piece
                target_pointers += piece
            count = min(piece, length - start)
            self._encode(count, plan.columns, plan.rows, plan.address, source_address, target_address)

    def invert(self, matrix: Matrix) -> Matrix:
        work = np.array(matrix, np.uint8, order="C")  # a copy: the library destroys its input
        inverted = np.empty_like(work)
        if self._invert(work.ctypes.data, inverted.ctypes.data, work.shape[0]) != 0:
            raise ZeroDivisionError("matrix over GF(2^8) is singular")
        return inverted

    def product(self, left: Matrix, right: Matrix) -> Matrix:
        right = np.ascontiguousarray(right)
        result = np.empty((left.shape[0], right.shape[1]), np.uint8)
        self.multiply(self.plan(left), _matrix_rows(right), _matrix_rows(result), right.shape[1])
        return result

    def tells_the_truth(self) -> bool:
        """Known answers: product and inverse of parts of a parity matrix, against the field's tables.

        Lengths beside a vector register's, and more rows than ISA-L takes at once, go through each of its paths.
        """
        parity = parity_matrix(64, 16)
        data = (np.arange(64 * 333, dtype=np.uint32) * 40503 >> 7).astype(np.uint8).reshape(64, 333)
        if not np.array_equal(self.product(parity, data), multiply_matrices(parity, data)):
            return False
        square = parity[:, :16]
        return np.array_equal(self.invert(square), invert_matrix(square))


def find_libraries() -> Iterator[str]:
    """Paths of libraries to try, the wheel's before the system's; pyeclib itself is not imported."""
    found = {
        path for folder in _wheel_folders() for path in folder.glob("libisal*") if _WHEEL_NAME.fullmatch(path.name)
    }
    yield from sorted(map(str, found))
    yield from SYSTEM_NAMES


def _wheel_folders() -> Iterator[Path]:
    try:
        spec = importlib.util.find_spec("pyeclib")
    except (ImportError, ValueError):
        spec = None
    if spec is not None and spec.origin:
        package = Path(spec.origin).resolve().parent
        yield from (package.parent / "pyeclib.libs", package / ".libs", package / ".dylibs", package)
    try:
        files = importlib.metadata.files("pyeclib") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    yield from {Path(str(file.locate())).resolve().parent for file in files if file.name.startswith("libisal")}


def _pointers(rows: Rows) -> NDArray[np.int64]:
    # int64 holds a user-space address; a fresh array, since multiply() moves it along.
    return rows.offsets + rows.memory.ctypes.data


def _matrix_rows(matrix: Matrix) -> Rows:
    return Rows(matrix.reshape(-1), np.arange(matrix.shape[0], dtype=np.int64) * matrix.shape[1])


def _piece_bytes(rows: int) -> int:
    return max(PIECE_MIN_BYTES, PIECE_TOTAL_BYTES // rows // PIECE_ALIGNMENT * PIECE_ALIGNMENT)
