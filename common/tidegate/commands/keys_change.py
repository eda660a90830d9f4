"""``tidegate keys rotate|revoke|add|new|epoch|site|sign|adopt``: who may do what, by a new version of the root."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tidegate.commands.options import Group, Invocation, shared_options
from tidegate.config import Role
from tidegate.errors import UsageError

if TYPE_CHECKING:
    from tidegate.root_change import Changed
    from tidegate.trust.root import Chain

FILE = click.Path(dir_okay=False, path_type=Path)


def register(group: Group) -> None:
    """Add the commands of this module to ``tidegate keys``."""
    for item in (rotate, revoke, add, new, epoch, site, sign, adopt):
        group.add_command(item)


def change_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Whose root keys sign, and where a proposal goes that lacks some."""
    for option in (
        click.option("--proposal", metavar="FILE", type=FILE, help="Where others sign what lacks their signatures."),
        click.option("--key", "keys", metavar="FILE", multiple=True, type=FILE, help="One more root key that signs."),
    ):
        function = option(function)
    return function


@click.command("rotate", short_help="Replace this host's key of a role by a new one.")
@click.argument("role")
@click.option("--holder", metavar="NAME", help="Who holds the new key; without it who held the old one.")
@click.option("--revoke", is_flag=True, help="The old key never counts again: it was lost or stolen.")
@click.option("--keep-old", is_flag=True, help="The old key stays in the role, until it is revoked.")
@click.option("--reason", metavar="TEXT", help="Why, for the root: --revoke.")
@change_options
@shared_options(writes=True)
def rotate(
    invocation: Invocation,
    role: str,
    holder: str | None,
    revoke: bool,
    keep_old: bool,
    reason: str | None,
    keys: tuple[Path, ...],
    proposal: Path | None,
) -> None:
    """Make a new key for ROLE (release, carrier, root, approver, …) and put it in place of this host's own, by the next
    version of the root. It reaches the other side with the next stick; what the old key signed and is still on its way
    is refused after that, unless --keep-old lets both count for a while."""
    from tidegate.root_change import make_next_key, own_chain, root_signers
    from tidegate.trust.keys import read_key_info
    from tidegate.trust.payload import Key
    from tidegate.trust.rotation import changes_to_add, changes_to_replace

    if role == "ledger":
        raise UsageError(
            "the ledger's key is not rotated: every checkpoint that others keep is judged by it",
            hint="where it was stolen, begin a new root and pair anew; the old ledger stays as evidence",
        )
    if revoke and keep_old:
        raise UsageError("--revoke and --keep-old contradict each other")
    workspace = invocation.workspace()
    chain = own_chain(workspace)
    path = workspace.root / "keys" / f"{role}.key"
    if role not in chain.newest.roles or not path.exists():
        roles = ", ".join(name for name in sorted(chain.newest.roles) if (path.parent / f"{name}.key").exists())
        raise UsageError(f"this host has no key of a role {role!r}, only of {roles}")
    old = read_key_info(path)
    signers = root_signers(workspace, chain, keys)
    if invocation.dry_run:
        invocation.report.closing(
            f"key {old.key_id[:16]} of role {role} would be replaced, root version {chain.newest.version + 1}",
            role=role,
            old=old.key_id,
        )
        return
    made = make_next_key(workspace, role, holder or old.holder)
    if keep_old:
        changes = changes_to_add(chain.newest, role, Key("ed25519", made.public.hex(), made.holder), made.key_id)
    else:
        changes = changes_to_replace(chain.newest, old.key_id, made, revoke=revoke, reason=reason)
    if role == "root":
        signers.append(made)
    _change(
        invocation,
        chain,
        changes,
        signers,
        f"role {role} rotated",
        proposal,
        role=role,
        old=old.key_id,
        new=made.key_id,
    )


@click.command("revoke", short_help="A key never counts again.")
@click.argument("key_id", metavar="KEY")
@click.option("--reason", metavar="TEXT", required=True, help="Why, for everybody who reads the root.")
@change_options
@shared_options(writes=True)
def revoke(invocation: Invocation, key_id: str, reason: str, keys: tuple[Path, ...], proposal: Path | None) -> None:
    """Revoke KEY (8 or more hex digits of its id): nothing that it signs counts from the next version of the root on,
    wherever that is known. The only key of a role is replaced instead: "tidegate keys rotate ROLE --revoke"."""
    from tidegate.root_change import find_key_id, own_chain, root_signers
    from tidegate.trust.rotation import changes_to_revoke

    workspace = invocation.workspace()
    chain = own_chain(workspace)
    found = find_key_id(chain.newest, key_id)
    if found in chain.newest.revoked_ids:
        invocation.report.closing(f"nothing to do: key {found[:16]} is revoked already", key=found, new=False)
        return
    signers = root_signers(workspace, chain, keys)
    changes = changes_to_revoke(chain.newest, found, reason)
    _change(invocation, chain, changes, signers, f"key {found[:16]} revoked", proposal, key=found)


@click.command("add", short_help="One more person's key in a role.")
@click.argument("role")
@click.argument("public", metavar="PUBLIC")
@click.option("--holder", metavar="NAME", required=True, help="Who holds it.")
@click.option("--threshold", metavar="N", type=click.IntRange(1, 64), help="How many holders must sign from now on.")
@change_options
@shared_options(writes=True)
def add(
    invocation: Invocation,
    role: str,
    public: str,
    holder: str,
    threshold: int | None,
    keys: tuple[Path, ...],
    proposal: Path | None,
) -> None:
    """Let a person's key count for ROLE; PUBLIC is the line that "tidegate keys new FILE" showed. With --threshold 2
    two people must sign from then on. For the role root the new holder signs, too, where the threshold asks for it."""
    from tidegate.root_change import own_chain, root_signers
    from tidegate.trust.keys import PUBLIC_BYTES
    from tidegate.trust.keys import key_id as id_of
    from tidegate.trust.payload import Key
    from tidegate.trust.rotation import changes_to_add

    try:
        raw = bytes.fromhex(public)
    except ValueError:
        raw = b""
    if len(raw) != PUBLIC_BYTES:
        raise UsageError(f'PUBLIC is {2 * PUBLIC_BYTES} hex digits, as "tidegate keys new FILE" shows them')
    workspace = invocation.workspace()
    chain = own_chain(workspace)
    if role == "ledger":
        raise UsageError("a ledger has one writer and one key")
    changes = changes_to_add(chain.newest, role, Key("ed25519", raw.hex(), holder), id_of(raw), threshold)
    signers = root_signers(workspace, chain, ())
    known = {*chain.newest.role_keys("root"), *(changes["roles"]["root"].keys)}
    signers += [signer for signer in map(workspace.signer_of, keys) if signer.key_id in known]
    _change(invocation, chain, changes, signers, f"{holder} added to role {role}", proposal, role=role, key=id_of(raw))


@click.command("new", short_help='Make a person\'s key; show the line for "keys add".')
@click.argument("file", type=FILE)
@click.option("--holder", metavar="NAME", help="Who holds it; without it the login name.")
@shared_options(writes=True)
def new(invocation: Invocation, file: Path, holder: str | None) -> None:
    """Make a private key in FILE, which stays with its holder; needs no root. A passphrase locks it."""
    from tidegate.initialisation import default_holder
    from tidegate.trust.keys import generate_key
    from tidegate.workspace import ask_passphrase

    if invocation.dry_run:
        invocation.report.closing(f"{file} would be made", file=str(file))
        return
    made = generate_key(file.absolute(), holder or default_holder(), ask_passphrase() or None)
    invocation.report.line(made.public.hex())
    invocation.report.closing(
        f'{file} is the key of {made.holder}; whoever holds the root key: "tidegate keys add ROLE PUBLIC"',
        file=str(file),
        holder=made.holder,
        key_id=made.key_id,
        public=made.public.hex(),
    )


@click.command("epoch", short_help="Low side: begin to count anew.")
@click.option("--reason", metavar="TEXT", required=True, help="Why, for the ledger.")
@change_options
@shared_options(writes=True)
def epoch(invocation: Invocation, reason: str, keys: tuple[Path, ...], proposal: Path | None) -> None:
    """Begin a new epoch of the channel: numbers begin at 1, and every bundle of the old epoch that has not arrived is
    stale. For a channel whose numbers cannot be restored, or were used by somebody else."""
    from tidegate.root_change import own_chain, root_signers

    workspace = invocation.workspace(Role.LOW)
    chain = own_chain(workspace)
    signers = root_signers(workspace, chain, keys)
    number = chain.newest.epoch + 1
    _change(invocation, chain, {"epoch": number}, signers, f"epoch {number}: {reason}", proposal)


@click.command("site", short_help="Low side: one more site of the channel.")
@click.argument("site", metavar="SITE")
@change_options
@shared_options(writes=True)
def site(invocation: Invocation, site: str, keys: tuple[Path, ...], proposal: Path | None) -> None:
    """Let the channel serve SITE, too: in the next version of the root, and in this root's settings."""
    from tidegate.initialisation import check_names
    from tidegate.root_change import own_chain, root_signers
    from tidegate.site_setting import add_site_to_settings

    check_names((site,))
    workspace = invocation.workspace(Role.LOW)
    chain = own_chain(workspace)
    sites = tuple(sorted({*(chain.newest.sites or ()), site}))
    if sites != chain.newest.sites:
        signers = root_signers(workspace, chain, keys)
        _change(invocation, chain, {"sites": sites}, signers, f"site {site} added", proposal, site=site)
    else:
        invocation.report.closing(f"nothing to do: the root names {site} already", site=site, new=False)
    if not invocation.dry_run:
        add_site_to_settings(workspace, site)


@click.command("sign", short_help="Sign a proposal of somebody else.")
@click.argument("file", type=FILE)
@click.option("--key", metavar="KEYFILE", type=FILE, help="The root key; without it this host's own.")
@shared_options(writes=True)
def sign(invocation: Invocation, file: Path, key: Path | None) -> None:
    """Say what the proposal FILE would change, and add your signature to it. With --key it needs no root here."""
    from tidegate.root_change import write_proposal
    from tidegate.trust.proposals import read_proposal

    workspace = invocation.found_workspace()
    proposal = read_proposal(_read(file))
    signer = workspace.signer_of(key) if key else workspace.signer("root")
    signed = proposal.signed_by([signer])
    invocation.report.line(_described(signed.chain.newest, signed.root))
    if not invocation.dry_run:
        write_proposal(file, signed)
    lacks = signed.lacks()
    then = f"it lacks {'; '.join(lacks)}" if lacks else f'"tidegate keys adopt {file}" takes it up'
    done = "would be signed" if invocation.dry_run else "is signed"
    invocation.report.closing(f"{file} {done} by {signer.key_id[:16]}; {then}", file=str(file), lacks=list(lacks))


@click.command("adopt", short_help="Take up a proposal that enough people have signed.")
@click.argument("file", type=FILE)
@shared_options(writes=True)
def adopt(invocation: Invocation, file: Path) -> None:
    """Make the next version of the own root what the proposal FILE says."""
    from tidegate.root_change import take_up
    from tidegate.trust.proposals import read_proposal

    workspace = invocation.workspace()
    _tell(invocation, take_up(workspace, read_proposal(_read(file)), dry_run=invocation.dry_run), file)


def _described(old: Any, new: Any) -> str:
    from tidegate.trust.changes import describe_roots

    return describe_roots(old, new)


def _change(
    invocation: Invocation,
    chain: "Chain",
    changes: dict[str, Any],
    signers: Any,
    what: str,
    proposal: Path | None,
    **facts: object,
) -> None:
    from tidegate.root_change import change_root, settle_keys

    workspace = invocation.workspace()
    if not invocation.dry_run:
        settle_keys(workspace)
    changed = change_root(
        workspace, chain, changes, signers, what=what, proposal_file=proposal, dry_run=invocation.dry_run
    )
    _tell(invocation, changed, proposal, **facts)


def _tell(invocation: Invocation, changed: "Changed", file: Path | None, **facts: object) -> None:
    root = changed.proposal.root
    if not changed.is_done:
        lacking = "; ".join(changed.lacks)
        invocation.report.closing(
            f'{file} lacks {lacking}: "tidegate keys sign {file}" there, then "tidegate keys adopt {file}" here',
            done=False,
            version=root.version,
            lacks=list(changed.lacks),
            **facts,
        )
        return
    done = "would be: " if invocation.dry_run else ""
    then = "; it reaches the other side with the next stick" if root.type == "channel" else ""
    invocation.report.closing(f"{done}{changed.text}{then}", done=True, version=root.version, epoch=root.epoch, **facts)


def _read(file: Path) -> bytes:
    from tidegate.files import read_limited
    from tidegate.trust.proposals import PROPOSAL_MAX_BYTES

    return read_limited(file, PROPOSAL_MAX_BYTES)
