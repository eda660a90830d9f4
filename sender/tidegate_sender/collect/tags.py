"""Tag patterns: one entry of a list that stands for all tags of a repository that fit.

A pattern is ``1.2*`` (as shells have it), ``/regular expression/``, or a range of versions (``>=1.2, <2``); one that
begins with ``!`` takes away what the others found. `newest` keeps the highest versions only.
"""

import fnmatch
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import lru_cache

from tidegate.charts.versions import VersionRange, parse_version
from tidegate.errors import CollectError, UsageError
from tidegate.registry.client import RegistryClient
from tidegate_sender.collect.items import ImageItem, Item

TAGS_MAX = 10_000  # that one entry may stand for
_RANGE = re.compile(r"[<>=~^]")
_ATTACHED = re.compile(r"sha256-[0-9a-f]{64}(\..+)?")


def check_patterns(patterns: Iterable[str]) -> None:
    """Raises UsageError for a pattern that cannot be read."""
    for pattern in patterns:
        _fits(pattern.removeprefix("!"), "0.0.0")


def choose_tags(tags: Iterable[str], patterns: Sequence[str], newest: int = 0) -> tuple[str, ...]:
    """Those of `tags` that fit, in the registry's order; of `newest` > 0 the highest versions, the highest first."""
    wanted = [pattern for pattern in patterns if not pattern.startswith("!")] or ["*"]
    unwanted = [pattern[1:] for pattern in patterns if pattern.startswith("!")]
    chosen = [
        tag
        for tag in tags
        if not _ATTACHED.fullmatch(tag)  # what belongs to an image comes with it
        and any(_fits(pattern, tag) for pattern in wanted)
        and not any(_fits(pattern, tag) for pattern in unwanted)
    ]
    if not newest:
        return tuple(chosen)
    versions = [(version.precedence_key, tag) for tag in chosen if (version := parse_version(tag)) is not None]
    return tuple(tag for _key, tag in sorted(versions, reverse=True)[:newest])


def _fits(pattern: str, tag: str) -> bool:
    if len(pattern) > 1 and pattern[0] == pattern[-1] == "/":
        return _expression(pattern[1:-1]).search(tag) is not None
    if _RANGE.match(pattern):
        return bool(VersionRange(pattern).choose([tag]))
    return fnmatch.fnmatchcase(tag, pattern)


@lru_cache(maxsize=256)
def _expression(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise UsageError(f"tags: /{text[:100]}/ is no regular expression: {error}") from None


def expand_tags(item: Item, client: Callable[[str], RegistryClient]) -> tuple[Item, ...]:
    """`item`, or for one with patterns an item for each tag. Raises RegistryError, CollectError where none fits."""
    if not isinstance(item, ImageItem) or not item.tags:
        return (item,)
    reference = item.reference
    tags = client(reference.registry).tags(reference.repository)
    chosen = choose_tags(tags, item.tags, item.newest)
    if not chosen:
        raise CollectError(f"{item.label}: none of its {len(tags)} tags fits")
    if len(chosen) > TAGS_MAX:
        raise CollectError(f"{item.label}: {len(chosen)} tags fit, the limit is {TAGS_MAX}")
    return tuple(replace(item, reference=replace(reference, tag=tag), tags=(), newest=0) for tag in chosen)
