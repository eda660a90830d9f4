"""Policies that let an image run only where the keys signed that its list expected: Kyverno and policy-controller.

The keys are those that came with the bundle under the release key's signature. Each must have signed: an attestor each
for Kyverno, a policy each for policy-controller (whose authorities are alternatives). No transparency log is asked,
since none can be reached. A rule covers a whole repository where all that was put there expects the same keys: whoever
moves a tag, or names another digest, does not get past it. Else it covers those images, and the others are free.

policy-controller checks keys by ``.sig`` tags alone; Kyverno takes Sigstore's bundle format too, where it is told so.
Fields: kyverno.io/v1 ClusterPolicy (Kyverno 1.13 or newer), policy.sigstore.dev/v1beta1 ClusterImagePolicy.
"""

import base64
import textwrap
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tidegate.provenance.attachments import ATTACHMENT, attached_tag
from tidegate.provenance.keys import PublicKey
from tidegate_receiver.naming.carvel import object_name
from tidegate_receiver.naming.rows import NameRow
from tidegate_receiver.naming.writing import yaml_text


def kyverno_policies(rows: Iterable[NameRow], name: str) -> str:
    """One ClusterPolicy with a rule for each set of keys; "" where no image has any."""
    rules = [
        {
            "name": f"signed-{number}",
            "match": {"any": [{"resources": {"kinds": ["Pod"]}}]},
            "verifyImages": [
                {
                    "type": "SigstoreBundle" if group.is_bundle else "Cosign",
                    "failureAction": "Enforce",
                    "imageReferences": list(group.patterns),
                    "required": True,
                    "mutateDigest": True,
                    "verifyDigest": True,
                    "attestors": [{"count": 1, "entries": [{"keys": _kyverno_key(key)}]} for key in group.keys],
                }
            ],
        }
        for number, group in enumerate(_groups(rows, _references), 1)
    ]
    if not rules:
        return ""
    spec = {"background": False, "webhookConfiguration": {"timeoutSeconds": 30}, "rules": rules}
    return yaml_text({"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": name}, "spec": spec})


def controller_policies(rows: Iterable[NameRow], name: str) -> str:
    """A ClusterImagePolicy for each key, for all images that it must have signed; "" where there is none."""
    by_key: dict[str, tuple[PublicKey, dict[str, None]]] = {}
    for group in _groups(rows, _globs):
        for key in group.keys:
            by_key.setdefault(key.key_id, (key, {}))[1].update(dict.fromkeys(group.patterns))
    documents = [
        {
            "apiVersion": "policy.sigstore.dev/v1beta1",
            "kind": "ClusterImagePolicy",
            "metadata": {"name": object_name(f"{name}-{key_id[:16]}")},
            "spec": {
                "images": [{"glob": pattern} for pattern in sorted(patterns)],
                "authorities": [{"name": object_name(key.name), "key": {"data": pem(key), "hashAlgorithm": "sha256"}}],
            },
        }
        for key_id, (key, patterns) in sorted(by_key.items())
    ]
    return yaml_text(*documents) if documents else ""


@dataclass(frozen=True, slots=True)
class _Group:
    """Images that the same keys must have signed, in one format, by patterns of their names."""

    keys: tuple[PublicKey, ...]
    is_bundle: bool
    patterns: tuple[str, ...]


def _groups(rows: Iterable[NameRow], patterns_of: Callable[[NameRow], tuple[str, ...]]) -> tuple[_Group, ...]:
    listed = tuple(rows)
    bundled = frozenset(bundled_images(listed))
    asked: dict[str, set[tuple[tuple[str, ...], bool]]] = {}
    for row in listed:
        if row.is_image:
            asked.setdefault(row.repository, set()).add((_ids(row), row in bundled))
    found: dict[tuple[tuple[str, ...], bool], set[str]] = {}
    known: dict[str, PublicKey] = {}
    for row in listed:
        if row.is_image and row.keys:
            is_same = len(asked[row.repository]) == 1
            patterns = (f"{row.repository}:*", f"{row.repository}@*") if is_same else patterns_of(row)
            found.setdefault((_ids(row), row in bundled), set()).update(patterns)
            known.update({key.key_id: key for key in row.keys})
    return tuple(
        _Group(tuple(known[key_id] for key_id in ids), is_bundle, tuple(sorted(patterns)))
        for (ids, is_bundle), patterns in sorted(found.items(), key=lambda item: item[0])
    )


def bundled_images(rows: Iterable[NameRow]) -> tuple[NameRow, ...]:
    """Images with keys whose signatures are in Sigstore's bundle format alone: referrers, and no ``.sig`` tag."""
    listed = tuple(rows)
    names = {row.new for row in listed}
    with_referrers = {row.repository for row in listed if row.kind == ATTACHMENT and "@" in row.new}
    return tuple(
        row
        for row in listed
        if row.is_image
        and row.keys
        and row.repository in with_referrers
        and f"{row.repository}:{attached_tag(row.root, 'sig')}" not in names
    )


def _ids(row: NameRow) -> tuple[str, ...]:
    return tuple(sorted({key.key_id for key in row.keys}))


def _references(row: NameRow) -> tuple[str, ...]:
    """One image for Kyverno, which forgets the tag where there is a digest."""
    return (row.pinned,) if "@" in row.new else (row.new, row.pinned)


def _globs(row: NameRow) -> tuple[str, ...]:
    """One image for policy-controller, which puts the digest after the tag."""
    return (row.pinned,) if "@" in row.new else (row.new, f"{row.new}@*", row.pinned)


def _kyverno_key(key: PublicKey) -> dict[str, object]:
    return {"publicKeys": pem(key), "rekor": {"ignoreTlog": True}, "ctlog": {"ignoreSCT": True}}


def pem(key: PublicKey) -> str:
    """The key in PEM form."""
    lines = textwrap.wrap(base64.b64encode(key.der).decode(), 64)
    return "\n".join(("-----BEGIN PUBLIC KEY-----", *lines, "-----END PUBLIC KEY-----", ""))
