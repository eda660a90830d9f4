"""The carrier key of a runner that goes on for months: rotated meanwhile, it is loaded anew.

Whoever went on with the old one would send what the other side refuses, and nobody would say so.
"""

from typing import TYPE_CHECKING

from tidegate.errors import TidegateError
from tidegate.trust.keys import read_key_info

if TYPE_CHECKING:
    from tidegate.trust.keys import Signer
    from tidegate.workspace import Workspace

_ROLE = "carrier"


class CarrierKey:
    """The key as it is now."""

    def __init__(self, workspace: "Workspace") -> None:
        """Raises what loading a key raises."""
        self._workspace = workspace
        self._signer = workspace.signer(_ROLE)

    def now(self) -> "Signer":
        """Loaded again only where the file has another key. Raises what loading a key raises."""
        try:
            key_id = read_key_info(self._workspace.root / "keys" / f"{_ROLE}.key").key_id
        except TidegateError:  # one is just being put in the place of the other
            return self._signer
        if key_id != self._signer.key_id:
            self._signer = self._workspace.signer(_ROLE)
        return self._signer
