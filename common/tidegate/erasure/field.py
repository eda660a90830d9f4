"""GF(2^8) with the polynomial 0x11d and the generator element 2: tables, and small matrices in numpy.

The tables are the definition of the field; engines only do the same faster (docs/format/erasure.md, "The field").
"""

import numpy as np
from numpy.typing import NDArray

POLYNOMIAL = 0x11D  # x^8 + x^4 + x^3 + x^2 + 1
Matrix = NDArray[np.uint8]


def _powers_of_two() -> Matrix:
    powers = np.zeros(512, np.uint8)
    value = 1
    for exponent in range(255):
        powers[exponent] = value
        value <<= 1
        if value & 0x100:
            value ^= POLYNOMIAL
    powers[255:510] = powers[:255]
    return powers


def _logarithms() -> NDArray[np.int64]:
    logarithms = np.zeros(256, np.int64)
    logarithms[EXP[:255]] = np.arange(255)
    return logarithms


def _products() -> Matrix:
    products = np.zeros((256, 256), np.uint8)
    products[1:, 1:] = EXP[LOG[1:, None] + LOG[None, 1:]]
    return products


#: 2^0 … 2^254, twice, so that a sum of two logarithms needs no modulo
EXP = _powers_of_two()
LOG = _logarithms()
#: PRODUCT[a, b] = a·b
PRODUCT = _products()


def inverse(value: int) -> int:
    """1/value; `value` is not 0."""
    return int(EXP[255 - LOG[value]])


def multiply_matrices(left: Matrix, right: Matrix) -> Matrix:
    """left · right over the field."""
    product = np.zeros((left.shape[0], right.shape[1]), np.uint8)
    for column in range(left.shape[1]):
        product ^= PRODUCT[left[:, column, None], right[None, column]]
    return product


def invert_matrix(matrix: Matrix) -> Matrix:
    """The inverse by Gauss and Jordan; raises ZeroDivisionError for a singular matrix."""
    size = matrix.shape[0]
    work = np.concatenate([matrix, np.eye(size, dtype=np.uint8)], axis=1)
    for column in range(size):
        pivot = column + int(np.argmax(work[column:, column] != 0))
        if work[pivot, column] == 0:
            raise ZeroDivisionError("matrix over GF(2^8) is singular")
        work[[column, pivot]] = work[[pivot, column]]
        work[column] = PRODUCT[inverse(int(work[column, column])), work[column]]
        factors = work[:, column].copy()
        factors[column] = 0
        work ^= PRODUCT[factors[:, None], work[None, column]]
    return work[:, size:].copy()
