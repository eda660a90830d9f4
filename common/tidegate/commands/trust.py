"""``tidegate trust``: which channels the high side believes."""

from pathlib import Path

import click

from tidegate.commands.options import Group, Invocation, shared_options
from tidegate.config import Release, Role
from tidegate.errors import HostError


@click.group("trust", cls=Group, short_help="Which channels this side believes: add, list, remove.")
def command() -> None:
    """Which channels this side believes."""


@command.command("add", short_help="Pin the channel of a pairing file, given its words.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--fingerprint", metavar="WORDS", help="The twelve words, as you heard them from the other side.")
@shared_options(writes=True)
def add(invocation: Invocation, file: Path, fingerprint: str | None) -> None:
    """High side: pin the channel of the pairing file FILE in the site root. Low side: pin the key of a site, whose
    line (in quotes, or in FILE) "tidegate keys export" prints there. Without the right words it is refused."""
    from tidegate.commands.site_trust import add_site
    from tidegate.errors import FingerprintError, FormatError
    from tidegate.pinning import recorded_change
    from tidegate.trust.root import continue_chain, parse_chain
    from tidegate.trust.words import check_fingerprint

    workspace = invocation.workspace()
    if workspace.settings.role is Role.LOW:
        add_site(invocation, workspace, file, fingerprint)
        return
    try:
        chain = parse_chain(_read(file))
    except FormatError as error:
        raise FormatError(
            f"{file}: is no pairing file: {error.message}", hint='"tidegate keys export FILE" on the low side makes one'
        ) from None
    if fingerprint is None:
        raise FingerprintError(
            f"{file}: channel {chain.newest.name} is pinned only with its twelve words",
            hint='have them read to you by voice ("tidegate keys show" there), and type them: --fingerprint "…"',
        )
    check_fingerprint(chain.channel_id, fingerprint)
    if workspace.settings.sites[0] not in (chain.newest.sites or ()):
        named = ", ".join(chain.newest.sites or ())
        invocation.report.warn(f"channel {chain.newest.name} is for {named}, this is {workspace.settings.sites[0]}")
    stored = workspace.trust.get(chain.channel_id)
    if stored is not None and continue_chain(stored, chain.to_whole_bytes()) is stored:
        invocation.report.closing(
            f"nothing to do: channel {chain.newest.name} is pinned already, root version {stored.newest.version}",
            channel=chain.channel_id,
            new=False,
        )
        return
    if workspace.settings.release_of(chain.newest.name) is Release.AUTOMATIC:  # perhaps set for another of this name
        invocation.report.warn(f"by the settings, what comes of channel {chain.newest.name} is loaded automatically")
    if not invocation.dry_run:
        detail = f"channel {chain.newest.name} pinned, root version {chain.newest.version}"
        with recorded_change(workspace, chain.channel_id, "trust-add", detail):
            workspace.trust.pin(chain, workspace.signer("root"))
    done = "would be pinned" if invocation.dry_run else "is pinned"
    invocation.report.closing(
        f"channel {chain.newest.name} {done}, root version {chain.newest.version}; bundles of it can be received",
        channel=chain.channel_id,
        name=chain.newest.name,
        new=True,
    )


@command.command("list", short_help="The pinned channels, with words and keys.")
@shared_options()
def list_channels(invocation: Invocation) -> None:
    """The channels that the site root pins, their fingerprints, and the keys that may sign their content; on the low
    side the sites whose slips are believed."""
    from tidegate.commands.site_trust import list_sites
    from tidegate.trust.words import fingerprint_words

    workspace = invocation.workspace()
    if workspace.settings.role is Role.LOW:
        list_sites(invocation, workspace)
        return
    rows, spoken = [], []
    for pinned in workspace.trust.list():
        words = fingerprint_words(pinned.channel_id)
        keys = sorted(pinned.root.role_keys("release"))
        rows.append((pinned.name, pinned.channel_id[:16], str(pinned.root.version), ", ".join(k[:16] for k in keys)))
        spoken.append(f"fingerprint of {pinned.name}: {words}")
        invocation.report.object(
            {
                "name": pinned.name,
                "channel": pinned.channel_id,
                "version": pinned.root.version,
                "epoch": pinned.root.epoch,
                "release_keys": keys,
                "fingerprint": words,
            }
        )
    if rows:
        invocation.report.table(("channel", "id", "root version", "release keys"), rows)
        for line in spoken:
            invocation.report.line(line)
    else:
        invocation.report.line('no channel is pinned; "tidegate trust add FILE --fingerprint …" pins one')


@command.command("remove", short_help="Believe a channel no more.")
@click.argument("channel")
@shared_options(writes=True)
def remove(invocation: Invocation, channel: str) -> None:
    """Believe CHANNEL (its name or id) no more. What was loaded stays; nothing more of it is received. On the low side
    CHANNEL is a site, whose slips are not believed any more."""
    from tidegate.commands.site_trust import remove_site
    from tidegate.pinning import recorded_change

    workspace = invocation.workspace()
    if workspace.settings.role is Role.LOW:
        remove_site(invocation, workspace, channel)
        return
    channels = workspace.trust.list()
    found = [item for item in channels if channel in (item.name, item.channel_id)]
    if not found:
        _refuse_near_miss(channel, [item.name for item in channels])
        invocation.report.closing(f"nothing to do: channel {channel} is not pinned here", removed=False)
        return
    pinned = found[0]
    if not invocation.dry_run:
        detail = f"channel {pinned.name} is not pinned any more"
        with recorded_change(workspace, pinned.channel_id, "trust-remove", detail):
            workspace.trust.remove(pinned.channel_id, workspace.signer("root"))
    done = "would not be pinned" if invocation.dry_run else "is not pinned"
    invocation.report.closing(f"channel {pinned.name} {done} any more", channel=pinned.channel_id, removed=True)


def _refuse_near_miss(channel: str, names: list[str]) -> None:
    """A mistyped name must not read as "believed no more"."""
    import difflib

    from tidegate.errors import UsageError

    if close := difflib.get_close_matches(channel, names, n=1):
        raise UsageError(f"no channel {channel!r} is pinned here; did you mean {close[0]!r}?")


def _read(file: Path) -> bytes:
    from tidegate.trust.root import CHANNEL_CHAIN_MAX_BYTES

    try:
        with file.open("rb") as opened:
            return opened.read(CHANNEL_CHAIN_MAX_BYTES + 1)
    except OSError as error:
        raise HostError(f"{file}: {error.strerror}") from None
