"""What differs between two versions of a root, in the words of people and ledger entries.

A key counts as there while it is in a role: one that only stays listed can do nothing.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from tidegate.trust.payload import Root
from tidegate.trust.root import Chain


@dataclass(frozen=True, slots=True)
class KeyChange:
    """A key that came, went, or was revoked between two versions."""

    key_id: str
    holder: str
    roles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RootChange:
    """What a newer chain changed. `chain` is the stored one from now on: verify with it, not with what was read."""

    chain: Chain
    from_version: int
    from_epoch: int
    added: tuple[KeyChange, ...] = ()
    removed: tuple[KeyChange, ...] = ()
    revoked: tuple[KeyChange, ...] = ()

    @property
    def is_change(self) -> bool:
        return self.from_version != self.chain.newest.version

    def describe(self) -> str:
        """One line for people: ``channel root plant: version 1 to 3; revoked 34750f98bd59fcfc (ben: root)``."""
        new = self.chain.newest
        if not self.is_change:
            return f"{new.label}: nothing new"
        parts = [f"{new.type} root {new.name}: version {self.from_version} to {new.version}"]
        if new.epoch != self.from_epoch:
            parts.append(f"epoch {self.from_epoch} to {new.epoch}")
        for verb, changes in (("added", self.added), ("removed", self.removed), ("revoked", self.revoked)):
            parts += [f"{verb} {item.key_id[:16]} ({item.holder}: {', '.join(item.roles)})" for item in changes]
        return "; ".join(parts)


def describe_roots(old: Root, new: Root) -> str:
    """What `new`, which may follow `old`, changes: in one line, for whoever is asked to sign it."""
    before, after = _working_keys(old), _working_keys(new)
    parts = [f"{new.type} root {new.name}: version {old.version} to {new.version}"]
    if new.epoch != old.epoch:
        parts.append(f"epoch {old.epoch} to {new.epoch}")
    parts += [_verb("adds", after[item]) for item in sorted(after.keys() - before.keys())]
    parts += [_verb("removes", before[item]) for item in sorted(before.keys() - after.keys())]
    parts += [f"revokes {item[:16]}" for item in sorted(new.revoked_ids - old.revoked_ids)]
    for name in sorted(new.roles.keys() & old.roles.keys()):
        if new.roles[name].threshold != old.roles[name].threshold:
            parts.append(f"{name} needs {new.roles[name].threshold} holders, not {old.roles[name].threshold}")
    if new.sites != old.sites:
        parts.append(f"sites {', '.join(new.sites or ())}")
    if new.channels != old.channels:
        parts.append("other pinned channels")
    return "; ".join(parts)


def _verb(verb: str, item: KeyChange) -> str:
    return f"{verb} {item.key_id[:16]} ({item.holder}: {', '.join(item.roles)})"


def changes_between(old: Root, chain: Chain) -> RootChange:
    """What `chain` changes for somebody who knows the version `old` of it."""
    new = chain.newest
    before, after = _working_keys(old), _working_keys(new)
    revoked = new.revoked_ids - old.revoked_ids
    return RootChange(
        chain,
        old.version,
        old.epoch,
        added=_in_order(after[item] for item in after.keys() - before.keys()),
        removed=_in_order(before[item] for item in before.keys() - after.keys() - revoked),
        revoked=_in_order(before.get(item) or _unused_key(chain, item) for item in revoked),
    )


def _working_keys(root: Root) -> dict[str, KeyChange]:
    roles: dict[str, list[str]] = {}
    for name, role in sorted(root.roles.items()):
        for key_id in role.keys:
            roles.setdefault(key_id, []).append(name)
    return {item: KeyChange(item, root.keys[item].holder, tuple(names)) for item, names in roles.items()}


def _unused_key(chain: Chain, key_id: str) -> KeyChange:
    """A key that was revoked without ever having been at work in the older version."""
    key = chain.find_key(key_id)
    return KeyChange(key_id, "unknown" if key is None else key.holder, ())


def _in_order(changes: Iterable[KeyChange]) -> tuple[KeyChange, ...]:
    return tuple(sorted(changes, key=lambda item: item.key_id))
