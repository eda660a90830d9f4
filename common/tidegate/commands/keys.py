"""``tidegate keys``: the keys of this host, and the pairing file for the other side."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tidegate.commands.keys_change import register
from tidegate.commands.options import Group, Invocation, shared_options
from tidegate.config import Role
from tidegate.workspace import Workspace

if TYPE_CHECKING:
    from tidegate.trust.root import Chain


@click.group("keys", cls=Group, short_help="The keys of this host; rotate, revoke, export the pairing file.")
def command() -> None:
    """The keys of this host, and the pairing file for the other side."""


register(command)


@command.command("list", short_help="Every key of the own root: role, holder, where it is.")
@shared_options()
def list_keys(invocation: Invocation) -> None:
    """Every key of the newest own root, with its roles and whether its private half is on this host."""
    workspace = invocation.workspace()
    root = _own_chain(workspace).newest
    held = _held_keys(workspace)
    folder = workspace.root / "keys"
    absent = "not on this host" if os.access(folder, os.R_OK | os.X_OK) else "in a folder that you may not read"
    rows = []
    for key_id, key in root.keys.items():
        roles = [name for name, role in root.roles.items() if key_id in role.keys]
        state = "revoked" if key_id in root.revoked_ids else ", ".join(roles) or "no role"
        rows.append((key_id[:16], key.holder, state, held.get(key_id, absent)))
        invocation.report.object(
            {"key_id": key_id, "holder": key.holder, "roles": roles, "file": held.get(key_id), "public": key.public}
        )
    invocation.report.table(("key", "holder", "role", "private half"), rows)


@command.command("show", short_help="The channel, its fingerprint in words, the root's version.")
@shared_options()
def show_keys(invocation: Invocation) -> None:
    """What the other side must know: the channel's id and its fingerprint in words."""
    from tidegate.trust.words import fingerprint_words

    workspace = invocation.workspace()
    chain = _own_chain(workspace)
    words = fingerprint_words(chain.channel_id)
    root = chain.newest
    invocation.report.line(f"{root.type} {root.name}, id {chain.channel_id}")
    invocation.report.line(f"root version {root.version}, epoch {root.epoch}, created {root.created}")
    slips = "" if root.type == "channel" else ' (of the root; those for slips: "tidegate keys export")'
    invocation.report.closing(
        f"fingerprint: {words}{slips}",
        name=root.name,
        type=root.type,
        id=chain.channel_id,
        version=root.version,
        epoch=root.epoch,
        fingerprint=words,
    )


@command.command("export", short_help="Write the pairing file; print its fingerprint in words.")
@click.argument("file", required=False, type=click.Path(dir_okay=False, path_type=Path))
@shared_options(writes=True)
def export(invocation: Invocation, file: Path | None) -> None:
    """Low side: write the channel root's chain to FILE for ``tidegate trust add`` on the other side. High side: print
    the line by which the low side believes this site's return slips; FILE is optional there."""
    from tidegate.commands.site_trust import export_site_key
    from tidegate.errors import UsageError
    from tidegate.trust.words import fingerprint_words

    workspace = invocation.workspace()
    if workspace.settings.role is Role.HIGH:
        export_site_key(invocation, workspace, file)
        return
    if file is None:
        raise UsageError("name the FILE that the pairing file is written to")
    chain = workspace.trust.own_channel()
    words = fingerprint_words(chain.channel_id)
    is_new = _is_new(file, chain)
    if is_new and not invocation.dry_run:
        _write_pairing_file(workspace, file, chain)
    what = f"channel {chain.newest.name}, root version {chain.newest.version}"
    done = "would be written" if invocation.dry_run else "written"
    invocation.report.line(f"{file} {done}: {what}" if is_new else f"nothing to do: {file} is there already: {what}")
    invocation.report.line(f"fingerprint: {words}")
    invocation.report.closing(
        "carry the file to the other side, and read the words to them by voice",
        file=str(file),
        channel=chain.channel_id,
        fingerprint=words,
        new=is_new,
    )


def _is_new(file: Path, chain: "Chain") -> bool:
    """Whether the pairing file is still to be written. What lies there and is none is not overwritten."""
    from tidegate.errors import FormatError, SignatureError, TrustError, UsageError
    from tidegate.trust.root import CHANNEL_CHAIN_MAX_BYTES, parse_chain

    if not file.absolute().parent.is_dir():
        raise UsageError(f"{file}: there is no folder {file.absolute().parent}")
    if not file.exists():
        return True
    with file.open("rb") as opened:
        data = opened.read(CHANNEL_CHAIN_MAX_BYTES + 1)
    try:
        parse_chain(data)
    except (FormatError, SignatureError, TrustError):
        raise UsageError(f"{file}: is there, and is no pairing file", hint="name a new file, or remove it") from None
    return data != chain.to_whole_bytes()


def _write_pairing_file(workspace: Workspace, file: Path, chain: "Chain") -> None:
    from tidegate.errors import HostError
    from tidegate.files import write_durably
    from tidegate.ledger.entries import Event, entry

    with workspace.recording():
        try:
            write_durably(file.absolute(), chain.to_whole_bytes())
        except OSError as error:  # names the temporary file beside it
            raise HostError(f"{file}: {error.strerror}") from None
        with workspace.state.transaction() as transaction:
            transaction.queue(
                entry(
                    Event.EXPORT,
                    subject=chain.channel_id,
                    step="pairing-file",
                    channel=chain.channel_id,
                    channel_name=chain.newest.name,
                    detail=f"pairing file, root version {chain.newest.version}",
                )
            )


def _own_chain(workspace: Workspace) -> "Chain":
    is_low = workspace.settings.role is Role.LOW
    return workspace.trust.own_channel() if is_low else workspace.trust.site_chain()


def _held_keys(workspace: Workspace) -> dict[str, str]:
    """key id → file of the private keys on this host."""
    from tidegate.errors import TidegateError
    from tidegate.trust.keys import read_key_info

    held = {}
    for path in sorted((workspace.root / "keys").glob("*.key")):
        try:
            held[read_key_info(path).key_id] = f"keys/{path.name}"
        except TidegateError:  # listed as not on this host; `doctor` says what is wrong with it
            continue
    return held
