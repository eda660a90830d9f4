"""Which code multiplies over GF(2^8): ISA-L where its library is found and tells the truth, else numpy.

Both engines give the same bytes; tests hold them to it. `TIDEGATE_ERASURE=numpy` or `isal` forces one. The choice
and its reasons: docs/decisions/0001-erasure-engine.md.
"""

import os
from dataclasses import dataclass
from functools import lru_cache

from tidegate.erasure.engine import Engine
from tidegate.erasure.isal import IsalEngine, IsalUnusableError
from tidegate.erasure.numpy_engine import NumpyEngine
from tidegate.errors import HostError, UsageError

ENGINE_VARIABLE = "TIDEGATE_ERASURE"


@dataclass(frozen=True, slots=True)
class EngineDescription:
    """The engine in use, for ``doctor``: `library` is the path of ISA-L, `why_not_isal` is empty with it."""

    name: str
    library: str = ""
    why_not_isal: str = ""


def load_engine() -> Engine:
    """The engine that `TIDEGATE_ERASURE` names, else the fastest that works here.

    Raises UsageError for an unknown name, HostError where ISA-L is demanded and cannot be used.
    """
    return _load(os.environ.get(ENGINE_VARIABLE, ""))[0]


def describe_engine() -> EngineDescription:
    """What `load_engine` gives, and why it is not ISA-L where it is not; raises as `load_engine` does."""
    return _load(os.environ.get(ENGINE_VARIABLE, ""))[1]


@lru_cache(maxsize=4)
def _load(wanted: str) -> tuple[Engine, EngineDescription]:
    if wanted not in {"", "isal", "numpy"}:
        raise UsageError(f'{ENGINE_VARIABLE} is {wanted!r}, not "isal" or "numpy"')
    if wanted == "numpy":
        return NumpyEngine(), EngineDescription("numpy", why_not_isal=f"{ENGINE_VARIABLE} says numpy")
    try:
        isal = IsalEngine.load()
    except IsalUnusableError as error:
        if wanted == "isal":
            raise HostError(f"{ENGINE_VARIABLE} says isal: {error}", hint='install the wheel "pyeclib"') from None
        return NumpyEngine(), EngineDescription("numpy", why_not_isal=str(error))
    return isal, EngineDescription("isal", library=isal.path)
