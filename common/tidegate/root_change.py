"""Change the own root: rotate, add and revoke keys, begin a new epoch, serve one more site.

    next root ─► signed by the root keys at hand ─► enough? taken up : a proposal, which others sign (`trust.proposals`)
    private keys: keys/ROLE.next.key is made first, the chain is replaced, then the new key takes the old one's place

Killed in between, the next command of this kind, or `keys settle` within it, puts the keys where the root says. Every
change is an entry before and after it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tidegate import clock
from tidegate.config import Role
from tidegate.errors import KeyFileError, TidegateError, TrustError, UsageError
from tidegate.files import host_error, sync_folder
from tidegate.ledger.entries import Event, Outcome, entry
from tidegate.trust.changes import RootChange, changes_between
from tidegate.trust.keys import HeldSigner, Signer, generate_key, load_signer, read_key_info
from tidegate.trust.payload import ONLINE_ROLES, RoleName, Root
from tidegate.trust.proposals import Proposal, propose
from tidegate.trust.root import Chain
from tidegate.trust.rotation import next_root
from tidegate.workspace import Workspace, ask_passphrase

NEXT = ".next.key"


@dataclass(frozen=True, slots=True)
class Changed:
    """What a change came to: taken up, or a proposal that lacks signatures."""

    proposal: Proposal
    is_done: bool
    lacks: tuple[str, ...]
    text: str


def own_chain(workspace: Workspace) -> Chain:
    is_low = workspace.settings.role is Role.LOW
    return workspace.trust.own_channel() if is_low else workspace.trust.site_chain()


def find_key_id(root: Root, text: str) -> str:
    """The key that `text`, 8 or more hex digits of its id, means. Raises UsageError."""
    found = [item for item in root.keys if len(text) >= 8 and item.startswith(text.lower())]
    if len(found) != 1:
        raise UsageError(
            f"{text!r} means {len(found) or 'no'} key{'s' * (len(found) != 1)} of {root.label}",
            hint='"tidegate keys list" shows them; 8 or more hex digits will do',
        )
    return found[0]


def make_next_key(workspace: Workspace, role: str, holder: str) -> HeldSigner:
    """The key that is to take the place of ``keys/ROLE.key``; one that an earlier try left is used."""
    path = workspace.root / "keys" / f"{role}{NEXT}"
    if path.exists():
        return load_signer(path, ask_passphrase() if read_key_info(path).is_locked else None)
    old = workspace.root / "keys" / f"{role}.key"
    is_locked = old.exists() and read_key_info(old).is_locked and role not in ONLINE_ROLES
    secret = ask_passphrase() if is_locked else None
    if is_locked and not secret:
        raise KeyFileError(f"{path}: the key before has a passphrase, and none was given for this one")
    return generate_key(path, holder, secret)


def change_root(
    workspace: Workspace,
    chain: Chain,
    changes: dict[str, Any],
    signers: Sequence[Signer],
    *,
    what: str,
    proposal_file: Path | None = None,
    dry_run: bool = False,
) -> Changed:
    """The own root with `changes`: taken up where `signers` suffice, else written to `proposal_file` for others.

    `chain` is what `changes` were made from: of two changes at once the second would undo the first, were it put on
    top of it. Raises TrustError where `signers` do not suffice and no file was named, RotationError where the root has
    changed since `chain` was read, FormatError for a root that cannot be.
    """
    return _settle(
        workspace,
        propose(chain, next_root(chain, clock.now(), **changes), signers),
        what=what,
        proposal_file=proposal_file,
        dry_run=dry_run,
    )


def take_up(workspace: Workspace, proposal: Proposal, *, dry_run: bool = False) -> Changed:
    """Take a proposal up that enough people have signed. Raises TrustError where it is not of this root."""
    chain = own_chain(workspace)
    if proposal.chain.channel_id != chain.channel_id:
        raise TrustError(f"the proposal is of {proposal.chain.newest.label}, this is {chain.newest.label}")
    if proposal.chain.newest.version != chain.newest.version:
        raise TrustError(
            f"the proposal follows version {proposal.chain.newest.version}, and the root is version"
            f" {chain.newest.version} by now",
            hint="make the change anew",
        )
    return _settle(workspace, proposal, what="proposal taken up", proposal_file=None, dry_run=dry_run)


def _settle(
    workspace: Workspace, proposal: Proposal, *, what: str, proposal_file: Path | None, dry_run: bool
) -> Changed:
    lacks = proposal.lacks()
    if lacks:
        if proposal_file is None:
            raise TrustError(
                f"{proposal.root.label}: lacks signatures: {'; '.join(lacks)}",
                hint='name their keys with --key FILE; or --proposal FILE, for them to "tidegate keys sign FILE"',
            )
        if not dry_run:
            write_proposal(proposal_file, proposal)
        return Changed(proposal, is_done=False, lacks=lacks, text=what)
    longer = proposal.taken_up()
    change = changes_between(proposal.chain.newest, longer)
    if not dry_run:
        _advance(workspace, longer, change, what)
    return Changed(proposal, is_done=True, lacks=(), text=change.describe())


def _advance(workspace: Workspace, longer: Chain, change: RootChange, what: str) -> None:
    def record(outcome: Outcome, detail: str) -> None:
        made = entry(
            Event.ROOT_CHANGE,
            subject=longer.newest.name,
            step="own-root",
            outcome=outcome,
            channel=longer.channel_id if workspace.settings.role is Role.LOW else None,
            epoch=longer.newest.epoch,
            detail=detail,
        )
        with workspace.state.transaction() as tx:
            tx.queue(made)
        workspace.recorder.drain()

    workspace.begin()
    record(Outcome.BEGUN, f"{what}: version {longer.newest.version}")
    try:
        workspace.trust.advance_own(longer)
        settle_keys(workspace)
    except TidegateError as error:
        record(Outcome.FAILED, error.message)
        raise
    record(Outcome.DONE, change.describe())


def settle_keys(workspace: Workspace) -> tuple[str, ...]:
    """Give every ``ROLE.next.key`` that the newest root has in its role the place of ``ROLE.key``; the roles."""
    root, folder, settled = own_chain(workspace).newest, workspace.root / "keys", []
    for path in sorted(folder.glob(f"*{NEXT}")):
        role = path.name.removesuffix(NEXT)
        if read_key_info(path).key_id not in root.role_keys(role):
            continue
        current = folder / f"{role}.key"
        try:
            if current.exists():
                current.rename(folder / f"{role}-{read_key_info(current).key_id[:8]}.old.key")
            path.rename(current)
            sync_folder(folder)
        except OSError as error:
            raise host_error(error, f"putting {path} in its place") from None
        settled.append(role)
    return tuple(settled)


def write_proposal(file: Path, proposal: Proposal) -> None:
    from tidegate.files import write_durably

    try:
        write_durably(file.absolute(), proposal.to_bytes())
    except OSError as error:
        raise host_error(error, f"writing {file}") from None


def root_signers(workspace: Workspace, chain: Chain, paths: Sequence[Path]) -> list[Signer]:
    """The root keys at hand: the files named, and this host's own, where it is one by the newest root."""
    signers = [workspace.signer_of(path) for path in paths]
    own = workspace.root / "keys" / "root.key"
    known = chain.newest.role_keys(RoleName.ROOT)
    if own.exists() and read_key_info(own).key_id in known:
        signers.append(workspace.signer("root"))
    return signers
