"""The matrices of the code: repair symbols from sources, and missing sources from what is present.

The parity matrix is the one that `reedsolo.RSCodec(repair_count)` applies to each byte column: the remainder of
data(x)·x^R modulo the generator polynomial with roots 2^0 … 2^(R-1). A shortened block uses its last columns.
"""

from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tidegate.erasure.field import EXP, PRODUCT, Matrix


class MatrixArithmetic(Protocol):
    """What this module needs of an engine."""

    def invert(self, matrix: Matrix) -> Matrix: ...

    def product(self, left: Matrix, right: Matrix) -> Matrix: ...


def generator_polynomial(repair_count: int) -> Matrix:
    """(x - 2^0)(x - 2^1) … , highest degree first, repair_count + 1 coefficients."""
    polynomial = np.ones(1, np.uint8)
    for root in range(repair_count):
        shifted = np.append(polynomial, np.uint8(0))
        shifted[1:] ^= PRODUCT[EXP[root], polynomial]
        polynomial = shifted
    return polynomial


@lru_cache(maxsize=64)
def parity_matrix(source_count: int, repair_count: int) -> Matrix:
    """P, uint8[repair_count, source_count], read-only: repairs = P · sources."""
    tail = generator_polynomial(repair_count)[1:]
    parity = np.zeros((repair_count, source_count), np.uint8)
    if repair_count:
        column = tail.copy()  # x^R mod g: what the last source contributes
        for source in reversed(range(source_count)):
            parity[:, source] = column
            lead = column[0]
            column = np.append(column[1:], np.uint8(0)) ^ PRODUCT[lead, tail]
    parity.setflags(write=False)
    return parity


def decode_rows(
    arithmetic: MatrixArithmetic, parity: Matrix, missing: NDArray[np.intp], repairs: NDArray[np.intp]
) -> Matrix:
    """uint8[e, K]: the missing sources from the K present symbols, for e missing ones and e chosen repairs.

    The input is the sources with the j-th chosen repair in the place of the j-th missing source. With A the e×e part
    of P that mixes the missing sources into the chosen repairs, the missing ones are A⁻¹ · (chosen repairs + the
    rest of P · present sources); an identity in the missing columns says both with one product.
    """
    rows = parity[repairs]
    # Never singular: the code is maximum distance separable, so every square part of P can be inverted.
    inverted = arithmetic.invert(rows[:, missing])
    rows[:, missing] = np.eye(len(missing), dtype=np.uint8)
    return arithmetic.product(inverted, rows)
