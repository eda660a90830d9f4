"""Whether a bundle may be loaded: the one question that promotion asks before it moves anything.

Today a channel's setting decides: ``by-hand`` (the person who runs ``load`` is the release) or ``automatic``
(``receive`` and ``watch`` may load too). Approval by one or two people belongs into `check_release` and nowhere
else: whatever it will need, promotion asks only here.
"""

import hashlib
from dataclasses import dataclass
from enum import StrEnum

from tidegate.canonical import dumps
from tidegate.config import Release, Settings
from tidegate.errors import NotReleasedError


class Releaser(StrEnum):
    """Who wants to load: a person at the command line, or `receive` and `watch` by themselves."""

    PERSON = "person"
    RULE = "rule"


@dataclass(frozen=True, slots=True)
class Permission:
    """A release that was given: by whom, and under which policy (its digest stands in the ledger)."""

    releaser: Releaser
    release: Release
    policy_digest: str


def may_load_automatically(settings: Settings, channel_name: str) -> bool:
    """Whether `receive` and `watch` may load what came over this channel."""
    return settings.release_of(channel_name) is Release.AUTOMATIC


def check_release(settings: Settings, channel_name: str, releaser: Releaser, bundle: str) -> Permission:
    """The permission to load `bundle`, or NotReleasedError."""
    release = settings.release_of(channel_name)
    if releaser is Releaser.RULE and release is not Release.AUTOMATIC:
        raise NotReleasedError(
            f"bundle {bundle}: channel {channel_name} is released {release.value}",
            hint=f'load it with "tidegate load {bundle}"',
        )
    return Permission(releaser, release, _policy_digest(channel_name, release))


def _policy_digest(channel_name: str, release: Release) -> str:
    policy = dumps({"channel": channel_name, "release": release.value})
    return f"sha256:{hashlib.sha256(policy).hexdigest()}"
