"""Ask a registry what refers to a manifest, and see to it that a registry can be asked: the API, or the fallback tag.

distribution-spec v1.1, "Listing Referrers" and "Referrers Tag Schema". The tag's index is merged, never overwritten:
what others listed there stays.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import msgspec

from tidegate.canonical import dumps
from tidegate.depot.descriptors import Descriptor, parse_index_entries
from tidegate.errors import GraphError, RegistryError, RegistryLiesError
from tidegate.oci import INDEX_TYPES, OCI_INDEX
from tidegate.provenance.attachments import fallback_tag
from tidegate.registry.client import MANIFEST_MAX_BYTES, RegistryClient

REFERRERS_MAX = 4096  # of one manifest; a registry that lists more is not believed
_MERGE_ATTEMPTS = 5  # somebody else may write the tag at the same time


class Discovery(StrEnum):
    """How a client finds a referrer."""

    API = "referrers API"
    TAG = "fallback tag"


@dataclass(frozen=True, slots=True)
class Listing:
    """What refers to one manifest; `has_api` whether the registry answers for it."""

    found: tuple[Descriptor, ...]
    has_api: bool


def list_referrers(client: RegistryClient, repository: str, digest: str) -> Listing:
    """By the API and by the fallback tag, which an older client may have written. Raises RegistryError, GraphError."""
    what = f"{client.host}: {repository}@{digest}: referrers"
    pages = client.referrers(repository, digest)
    found: dict[str, Descriptor] = {}
    for page in pages or ():
        _take(found, parse_index_entries(page, what=what, max_bytes=MANIFEST_MAX_BYTES), what)
    _take(found, _tagged(client, repository, digest), what)
    return Listing(tuple(found.values()), pages is not None)


def _take(found: dict[str, Descriptor], listed: Iterable[Descriptor], what: str) -> None:
    for item in listed:
        found.setdefault(item.digest, item)
        if len(found) > REFERRERS_MAX:
            raise GraphError(f"{what}: more than {REFERRERS_MAX}")


def _tagged(client: RegistryClient, repository: str, digest: str) -> tuple[Descriptor, ...]:
    tag = fallback_tag(digest)
    answer = client.find_manifest(repository, tag)
    if answer is None:
        return ()
    what = f"{client.host}: {repository}:{tag}"
    if answer.media_type not in INDEX_TYPES | {""}:
        raise GraphError(f"{what}: is no index, and the tag is one that lists referrers")
    return parse_index_entries(answer.data, what=what, max_bytes=MANIFEST_MAX_BYTES)


def make_discoverable(client: RegistryClient, repository: str, subject: str, referrer: Descriptor) -> Discovery:
    """See that `referrer` is listed for `subject`, and read it back. Raises RegistryError, RegistryLiesError."""
    pages = client.referrers(repository, subject)
    what = f"{client.host}: {repository}@{subject}: referrers"
    if pages is not None:
        listed = {
            item.digest for page in pages for item in parse_index_entries(page, what=what, max_bytes=MANIFEST_MAX_BYTES)
        }
        if referrer.digest in listed:
            return Discovery.API
    for _ in range(_MERGE_ATTEMPTS):
        if referrer.digest in {item.digest for item in _tagged(client, repository, subject)}:
            return Discovery.TAG
        _merge(client, repository, subject, referrer)
    raise RegistryLiesError(f"{what}: {referrer.digest} was put there and is not listed, by no way")


def _merge(client: RegistryClient, repository: str, subject: str, referrer: Descriptor) -> None:
    """Add one descriptor to the index under the fallback tag, and leave every other byte of meaning as it is."""
    tag = fallback_tag(subject)
    index: dict[str, Any] = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}
    answer = client.find_manifest(repository, tag)
    if answer is not None:
        try:
            index = msgspec.json.decode(answer.data, type=dict[str, Any])
        except (msgspec.MsgspecError, RecursionError) as error:
            raise RegistryLiesError(f"{client.host}: {repository}:{tag}: is no index: {error}") from None
    manifests = index.get("manifests")
    if not isinstance(manifests, list):
        raise RegistryLiesError(f"{client.host}: {repository}:{tag}: is no index that could be added to")
    index["manifests"] = [*manifests, referrer.to_json()]
    try:
        data = dumps(index)
    except ValueError as error:
        raise RegistryError(f"{client.host}: {repository}:{tag}: cannot be added to: {error}") from None
    if len(data) > MANIFEST_MAX_BYTES:
        raise RegistryError(f"{client.host}: {repository}:{tag}: is full, {len(manifests)} referrers are listed there")
    client.put_manifest(repository, tag, str(index.get("mediaType") or OCI_INDEX), data)
