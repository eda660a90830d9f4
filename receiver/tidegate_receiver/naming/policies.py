"""Policies that let an image run only where the keys signed that its list expected: Kyverno and policy-controller.

The keys are those that came with the bundle under the release key's signature. Each must have signed: an attestor each
for Kyverno, a policy each for policy-controller (whose authorities are alternatives). No transparency log is asked,
since none can be reached. A rule covers a whole repository where all that was put there expects the same keys: whoever
moves a tag, or names another digest, does not get past it. Else it covers those images, and the others are free.

Fields: kyverno.io/v1 ClusterPolicy (Kyverno 1.13 or newer), policy.sigstore.dev/v1beta1 ClusterImagePolicy.
"""

import base64
import textwrap
from collections.abc import Callable, Iterable

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
                    "type": "Cosign",
                    "failureAction": "Enforce",
                    "imageReferences": patterns,
                    "required": True,
                    "mutateDigest": True,
                    "verifyDigest": True,
                    "attestors": [{"count": 1, "entries": [{"keys": _kyverno_key(key)}]} for key in keys],
                }
            ],
        }
        for number, (keys, patterns) in enumerate(_by_keys(rows, _references), 1)
    ]
    if not rules:
        return ""
    spec = {"background": False, "webhookConfiguration": {"timeoutSeconds": 30}, "rules": rules}
    return yaml_text({"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": name}, "spec": spec})


def controller_policies(rows: Iterable[NameRow], name: str) -> str:
    """A ClusterImagePolicy for each key, for all images that it must have signed; "" where there is none."""
    by_key: dict[str, tuple[PublicKey, dict[str, None]]] = {}
    for keys, patterns in _by_keys(rows, _globs):
        for key in keys:
            by_key.setdefault(key.key_id, (key, {}))[1].update(dict.fromkeys(patterns))
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


def _by_keys(
    rows: Iterable[NameRow], patterns_of: Callable[[NameRow], tuple[str, ...]]
) -> list[tuple[tuple[PublicKey, ...], list[str]]]:
    """Sets of keys, and patterns of the images that all keys of a set must have signed."""
    images = [row for row in rows if row.is_image]
    asked: dict[str, set[tuple[str, ...]]] = {}
    for row in images:
        asked.setdefault(row.repository, set()).add(_ids(row))
    found: dict[tuple[str, ...], tuple[tuple[PublicKey, ...], set[str]]] = {}
    for row in images:
        if not row.keys:
            continue
        keys = {key.key_id: key for key in row.keys}
        is_same = len(asked[row.repository]) == 1
        patterns = (f"{row.repository}:*", f"{row.repository}@*") if is_same else patterns_of(row)
        found.setdefault(_ids(row), (tuple(keys[key] for key in _ids(row)), set()))[1].update(patterns)
    return [(keys, sorted(patterns)) for _, (keys, patterns) in sorted(found.items(), key=lambda item: item[0])]


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
