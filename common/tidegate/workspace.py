"""One opened root: its settings, and the rooms under it, each opened when it is first asked for.

A command opens a `Workspace`, calls `begin` before it changes anything (which fails closed when the ledger cannot
take entries), runs one pipeline, and calls `finish`, so that it ends with every entry in the ledger.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from tidegate.config import SETTINGS_FILE, Role, Settings, find_root, load_settings
from tidegate.errors import KeyFileError, NotInitialisedError
from tidegate.files import make_folders

if TYPE_CHECKING:
    from tidegate.depot.store import Depot
    from tidegate.ledger.recorder import Recorder
    from tidegate.registry.registries import Registries
    from tidegate.state.db import State
    from tidegate.trust.keys import Signer
    from tidegate.trust.store import TrustStore

#: folders under the root, with their modes (docs/operating/files.md)
FOLDERS = {
    "depot": 0o755,
    "direct": 0o755,
    "quarantine": 0o700,
    "stages": 0o755,
    "spool": 0o700,
    "ledger": 0o755,
    "baselines": 0o755,
    "evidence": 0o700,
    "papers": 0o755,
    "links": 0o755,
    "keys": 0o700,
    "trust": 0o755,
}


@dataclass(frozen=True)
class Workspace:
    """A root that was initialised. Opening it reads settings and nothing else."""

    root: Path
    settings: Settings

    @classmethod
    def open(cls, root: str | Path | None = None, *, role: Role | None = None) -> "Workspace":
        """Open the root by the documented order of places.

        Raises NotInitialisedError where there is none, or where it is not of `role`.
        """
        workspace = cls.find(root)
        if not workspace.is_initialised:
            raise NotInitialisedError(f"{workspace.root}: not initialised")
        if role is not None and workspace.settings.role is not role:
            here = workspace.settings.role
            raise NotInitialisedError(
                f"{workspace.root}: this is a {here} side, and the command is one of the {role} side",
                hint=f'run it on the {role} side, or name its root with "--root"',
            )
        return workspace

    @classmethod
    def find(cls, root: str | Path | None = None) -> "Workspace":
        """The root as it is, initialised or not."""
        import os

        folder = find_root(root)
        named = root is not None or "TIDEGATE_ROOT" in os.environ
        return cls(folder, load_settings(folder, named=named))

    @property
    def is_initialised(self) -> bool:
        return (self.root / SETTINGS_FILE).is_file()

    def folder(self, name: str) -> Path:
        """One of FOLDERS, made when missing."""
        path = self.root / name
        if not path.is_dir():
            make_folders(path, mode=FOLDERS[name])
        return path

    @property
    def origin(self) -> str:
        """The ledger's origin: ``NAME/low`` with the channel's name, ``NAME/high`` with the site's."""
        if self.settings.role is Role.LOW:
            return f"{self.settings.channel}/low"
        return f"{self.settings.sites[0]}/high"

    @cached_property
    def state(self) -> "State":
        from tidegate.state.db import State

        return State(self.root / "state.db", clock_trusted=self.settings.clock_trusted)

    @cached_property
    def depot(self) -> "Depot":
        from tidegate.depot.store import Depot

        return Depot(self.folder("depot"))

    @cached_property
    def registries(self) -> "Registries":
        from tidegate.registry.registries import Registries

        return Registries.of(self.settings)

    @cached_property
    def trust(self) -> "TrustStore":
        from tidegate.trust.store import TrustStore

        return TrustStore(self.folder("trust"))

    @cached_property
    def recorder(self) -> "Recorder":
        from tidegate.ledger.recorder import Recorder

        return Recorder(self.folder("ledger"), self.state, self.signer("ledger"), self.origin)

    def signer(self, role: str) -> "Signer":
        """The private key of a role on this host, ``keys/<role>.key``."""
        return self.signer_of(self.root / "keys" / f"{role}.key")

    def signer_of(self, path: Path) -> "Signer":
        """The private key in the file at `path`: a person may keep theirs elsewhere than on this host."""
        from tidegate.trust.keys import load_signer, read_key_info

        passphrase = ask_passphrase() if read_key_info(path).is_locked else None
        return load_signer(path, passphrase)

    def begin(self) -> None:
        """Refuse to begin what could not be recorded."""
        self.recorder.check()

    def finish(self) -> None:
        """Bring every queued entry into the ledger."""
        self.recorder.drain()

    @contextlib.contextmanager
    def recording(self) -> Iterator[None]:
        """`begin`, the work, `finish`; entries that were queued before a failure are recorded too."""
        self.begin()
        try:
            yield
        finally:
            self.finish()


def ask_passphrase() -> str | None:
    """The one thing that is ever asked: from ``TIDEGATE_PASSPHRASE_FILE``, else at the terminal, else None."""
    import os
    import sys

    path = os.environ.get("TIDEGATE_PASSPHRASE_FILE")
    if path:
        try:
            if Path(path).stat().st_mode & 0o077:
                hint = f"chmod 600 {path}, and think of a new passphrase"
                raise KeyFileError(f"TIDEGATE_PASSPHRASE_FILE: {path}: others may read it", hint=hint)
            return Path(path).read_text(encoding="utf-8").rstrip("\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "is no text"
            raise KeyFileError(f"TIDEGATE_PASSPHRASE_FILE: {path}: {reason}") from None
    if not sys.stdin.isatty():
        return None
    import getpass

    return getpass.getpass("passphrase of the private key: ")
