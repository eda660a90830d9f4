"""``tidegate init low`` and ``tidegate init high``: the first day of a host."""

import click

from tidegate.commands.options import Group, Invocation, shared_options
from tidegate.config import Role, find_root


@click.group("init", cls=Group, short_help="Make this host a low side or a high side: settings, keys, ledger.")
def command() -> None:
    """Make this host one side of the gap: settings, one key per role, root version 1, an empty ledger."""


_HOLDER = click.option("--holder", metavar="NAME", help="Who holds the keys [your login name].")
_LOCK = click.option("--passphrase", "lock", is_flag=True, help="Lock root and release keys; it is asked for once.")


@command.command("low", short_help="The connected side, which sends.")
@click.option("--channel", required=True, metavar="NAME", help="Name of the channel that this side sends.")
@click.option(
    "--site", "sites", required=True, multiple=True, metavar="SITE", help="A site that it is for; repeatable."
)
@_HOLDER
@_LOCK
@shared_options(writes=True)
def low(invocation: Invocation, channel: str, sites: tuple[str, ...], holder: str | None, lock: bool) -> None:
    """Make this host the low side of a channel."""
    _initialise(invocation, Role.LOW, channel, tuple(sorted(set(sites))), holder, lock)


@command.command("high", short_help="The isolated side, which receives.")
@click.option("--site", required=True, metavar="NAME", help="Name of this site.")
@_HOLDER
@_LOCK
@shared_options(writes=True)
def high(invocation: Invocation, site: str, holder: str | None, lock: bool) -> None:
    """Make this host the high side of a site."""
    _initialise(invocation, Role.HIGH, "", (site,), holder, lock)


def _initialise(
    invocation: Invocation, role: Role, channel: str, sites: tuple[str, ...], holder: str | None, lock: bool
) -> None:
    from tidegate.initialisation import check_names, initialise

    folder = find_root(invocation.root)
    if invocation.dry_run and not invocation.found_workspace().is_initialised:
        check_names((channel, *sites) if role is Role.LOW else sites)
        invocation.report.closing(f"would make {folder} the {role} side", root=str(folder), role=role, new=True)
        return
    made = initialise(
        folder, role, channel=channel, sites=sites, holder=holder, passphrase=_new_passphrase() if lock else None
    )
    name = "channel" if role is Role.LOW else "site"
    following = (
        'next: "tidegate keys export FILE" for the other side'
        if role is Role.LOW
        else 'next: "tidegate trust add FILE --fingerprint …" with the low side\'s pairing file'
    )
    text = f"{made.root} is the {role} side of {name} {made.name}; {following}"
    invocation.report.closing(
        text if made.is_new else f"nothing to do: {text}",
        root=str(made.root),
        role=role,
        name=made.name,
        id=made.chain_id,
        new=made.is_new,
    )


def _new_passphrase() -> str:
    from tidegate.errors import UsageError
    from tidegate.workspace import ask_passphrase

    passphrase = ask_passphrase()
    if not passphrase:
        raise UsageError(
            "--passphrase needs a terminal or TIDEGATE_PASSPHRASE_FILE",
            hint="run it at a terminal, or name a file with the passphrase in TIDEGATE_PASSPHRASE_FILE",
        )
    return passphrase
