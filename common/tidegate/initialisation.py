"""The first day of a host: settings, one key per role, root version 1, an empty ledger with its first entry.

Nothing counts until ``tidegate.toml`` is there, which is written last: an `init` that was killed is run again, and
keeps the keys and the root that it made before.
"""

import getpass
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tidegate import clock
from tidegate.config import SETTINGS_FILE, Role, Settings
from tidegate.errors import StateError, UsageError
from tidegate.files import make_folders, write_durably
from tidegate.names import NAME
from tidegate.workspace import FOLDERS, Workspace

if TYPE_CHECKING:
    from tidegate.trust.keys import FileSigner
    from tidegate.trust.root import Chain

ROLES = {
    Role.LOW: ("root", "release", "carrier", "ledger"),
    Role.HIGH: ("root", "approver", "reviewer", "scanner", "ledger"),
}


@dataclass(frozen=True, slots=True)
class Initialised:
    """What `init` made, or found already there."""

    root: Path
    role: Role
    name: str
    chain_id: str
    is_new: bool


def initialise(
    folder: Path, role: Role, *, channel: str = "", sites: tuple[str, ...], holder: str | None, passphrase: str | None
) -> Initialised:
    """Make `folder` the root of one side.

    `sites` of a high side is its own name alone. Raises UsageError for names that are none, StateError where the
    folder belongs to another channel, site or role.
    """
    settings = Settings(role=role, channel=channel, sites=sites)
    check_names((channel, *sites) if role is Role.LOW else sites)
    existing = Workspace.find(folder)
    if existing.is_initialised:
        return _already(existing, settings)
    for name, mode in FOLDERS.items():
        make_folders(folder / name, mode=mode)
    chain = _own_chain(folder, settings, holder or default_holder(), passphrase)
    workspace = Workspace(folder, settings)
    _record_first_entry(workspace, chain)
    write_durably(folder / SETTINGS_FILE, settings_text(settings).encode())
    return Initialised(folder, role, _name_of(settings), chain.channel_id, is_new=True)


def check_names(names: tuple[str, ...]) -> None:
    for name in names:
        if not re.match(NAME, name):
            raise UsageError(f"{name!r} is no name: 1 to 64 of a-z 0-9 . _ -, first and last a letter or digit")


def default_holder() -> str:
    """The login name as far as it is a name, else ``operator``."""
    try:
        login = getpass.getuser().lower()
    except (KeyError, OSError):
        return "operator"
    return login if re.match(NAME, login) else "operator"


def settings_text(settings: Settings) -> str:
    """The settings that belong to a root, as TOML."""
    sites = ", ".join(f'"{site}"' for site in settings.sites)
    lines = ["# Written by tidegate init. Every setting: docs/operating/settings.md", f'role = "{settings.role}"']
    if settings.channel:
        lines.append(f'channel = "{settings.channel}"')
    return "\n".join([*lines, f"sites = [{sites}]", ""])


def _already(workspace: Workspace, wanted: Settings) -> Initialised:
    found = workspace.settings
    if (found.role, found.channel, found.sites) != (wanted.role, wanted.channel, wanted.sites):
        raise StateError(
            f"{workspace.root}: is {_described(found)} already, not {_described(wanted)}",
            hint='name another folder with "--root"',
        )
    chain = workspace.trust.own_channel() if found.role is Role.LOW else workspace.trust.site_chain()
    return Initialised(workspace.root, found.role, _name_of(found), chain.channel_id, is_new=False)


def _described(settings: Settings) -> str:
    sites = ", ".join(settings.sites)
    return f"the low side of {settings.channel} for {sites}" if settings.role is Role.LOW else f"the high side {sites}"


def _name_of(settings: Settings) -> str:
    return settings.channel if settings.role is Role.LOW else settings.sites[0]


def _own_chain(folder: Path, settings: Settings, holder: str, passphrase: str | None) -> "Chain":
    from tidegate.trust.rotation import create_channel_root, create_site_root
    from tidegate.trust.store import CHANNEL_FILE, SITE_FILE, TrustStore

    trust = TrustStore(folder / "trust")
    if settings.role is Role.LOW and (trust.folder / CHANNEL_FILE).exists():
        return trust.own_channel()
    if settings.role is Role.HIGH and (trust.folder / SITE_FILE).exists():
        return trust.site_chain()
    signers = {role: [_signer(folder / "keys", role, holder, passphrase)] for role in ROLES[settings.role]}
    created = clock.now()
    if settings.role is Role.LOW:
        chain = create_channel_root(settings.channel, settings.sites, signers, created)
    else:
        chain = create_site_root(settings.sites[0], signers, created)
    trust.start(chain)
    return chain


def _signer(keys: Path, role: str, holder: str, passphrase: str | None) -> "FileSigner":
    """The key of one role. Keys that work unattended have no passphrase: a service must be able to sign."""
    from tidegate.trust.keys import generate_key, load_signer
    from tidegate.trust.payload import ONLINE_ROLES

    path = keys / f"{role}.key"
    secret = None if role in ONLINE_ROLES else passphrase
    if path.exists():  # left by an init that was killed before it wrote the root
        return load_signer(path, secret)
    return generate_key(path, holder, secret)


def _record_first_entry(workspace: Workspace, chain: "Chain") -> None:
    from tidegate.ledger.entries import Event, entry

    with workspace.state.transaction() as transaction:
        transaction.queue(
            entry(
                Event.INIT,
                subject=workspace.origin,
                step="init",
                channel=chain.channel_id if workspace.settings.role is Role.LOW else None,
                detail=f"{workspace.settings.role} side, root version 1",
            )
        )
    workspace.finish()
