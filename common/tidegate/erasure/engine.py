"""What multiplies over GF(2^8): the interface of an engine. Which ones there are, and which is taken: `choice`."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tidegate.erasure.field import Matrix


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of bytes in memory: `offsets` (int64) into `memory` (uint8, one-dimensional), one a row."""

    memory: NDArray[np.uint8]
    offsets: NDArray[np.int64]


class Engine(Protocol):
    """Multiplies rows of bytes by a matrix over the field. Safe to use from several threads."""

    @property
    def name(self) -> str: ...

    def plan(self, matrix: Matrix) -> Any:
        """`matrix` (uint8[targets, sources], at least one of each) prepared for `multiply`."""

    def multiply(self, plan: Any, sources: Rows, targets: Rows, length: int) -> None:
        """targets = matrix · sources, for `length` bytes of each row. No target row overlaps a source row."""

    def invert(self, matrix: Matrix) -> Matrix:
        """The inverse of a square matrix; raises ZeroDivisionError for a singular one."""

    def product(self, left: Matrix, right: Matrix) -> Matrix:
        """left · right, both small."""
