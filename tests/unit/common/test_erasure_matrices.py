"""The field and the matrices, with reedsolo as oracle."""

import numpy as np
import pytest
import reedsolo

from tidegate.erasure.field import PRODUCT, inverse, invert_matrix, multiply_matrices
from tidegate.erasure.isal import IsalEngine
from tidegate.erasure.matrices import generator_polynomial, parity_matrix


def test_products_are_those_of_reedsolo() -> None:
    reedsolo.init_tables(0x11D)
    expected = [[reedsolo.gf_mul(left, right) for right in range(256)] for left in range(256)]
    assert np.array_equal(PRODUCT, np.array(expected, np.uint8))


def test_a_number_times_its_inverse_is_one() -> None:
    assert all(PRODUCT[value, inverse(value)] == 1 for value in range(1, 256))


@pytest.mark.parametrize("repair_count", [0, 1, 2, 20, 55, 254])
def test_generator_polynomial_is_that_of_reedsolo(repair_count: int) -> None:
    reedsolo.init_tables(0x11D)
    assert bytes(generator_polynomial(repair_count)) == bytes(reedsolo.rs_generator_poly(repair_count))


@pytest.mark.parametrize(("source_count", "repair_count"), [(1, 1), (1, 254), (4, 2), (64, 16), (200, 55), (254, 1)])
def test_parity_matrix_gives_the_repair_bytes_of_reedsolo(source_count: int, repair_count: int) -> None:
    sources = np.random.default_rng(source_count).integers(0, 256, (source_count, 1), dtype=np.uint8)
    codeword = reedsolo.RSCodec(repair_count).encode(sources.tobytes())
    repairs = multiply_matrices(parity_matrix(source_count, repair_count), sources)
    assert repairs.tobytes() == bytes(codeword[source_count:])


def test_a_shortened_block_uses_the_last_columns() -> None:
    assert np.array_equal(parity_matrix(200, 20)[:, -77:], parity_matrix(77, 20))


def test_invert_matrix_swaps_rows_where_the_diagonal_is_zero() -> None:
    matrix = np.array([[0, 1, 0], [2, 0, 0], [7, 0, 9]], np.uint8)
    identity = np.eye(3, dtype=np.uint8)
    assert np.array_equal(multiply_matrices(matrix, invert_matrix(matrix)), identity)
    assert np.array_equal(IsalEngine.load().invert(matrix), invert_matrix(matrix))


def test_a_singular_matrix_is_refused_by_both_engines() -> None:
    singular = np.array([[1, 2], [1, 2]], np.uint8)
    for invert in (invert_matrix, IsalEngine.load().invert):
        with pytest.raises(ZeroDivisionError):
            invert(singular)
