"""Choose a chart's version as Helm does: ranges by semver, pre-releases only where they are asked for.

Ranges go through `semantic_version` (NpmSpec), whose grammar is that of Helm's library but for the comma between
conditions and for ``!=``, which are read here. Why: docs/decisions/0020.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tidegate.errors import UsageError

_RANGE_MAX = 256
_OPERATOR = re.compile(r"(=|!=|>=?|<=?|~>?|\^)\s+")
_HYPHEN = re.compile(r"\s+-\s+")


@dataclass(frozen=True, slots=True)
class VersionRange:
    """What a request says of a version: empty for the newest, one version, or a range."""

    text: str

    def choose(self, versions: Iterable[str]) -> str:
        """The newest of `versions` that fits; empty where none does. Raises UsageError for what is no range."""
        known = {text: version for text in versions if (version := parse_version(text)) is not None}
        if self.text in known:
            return self.text
        fits = _condition(self.text)
        fitting = [(version, text) for text, version in known.items() if fits(version)]
        return max(fitting, key=lambda pair: (pair[0].precedence_key, pair[1]))[1] if fitting else ""


def parse_version(text: str) -> Any | None:
    """A version as Helm takes it (``v1.2``); None for what is none."""
    import semantic_version

    from tidegate.charts.metadata import VERSION

    if len(text) > _RANGE_MAX or not VERSION.match(text):
        return None
    try:
        return semantic_version.Version.coerce(text.removeprefix("v"))
    except ValueError:
        return None


def _condition(text: str) -> Any:
    """A predicate over versions."""
    if len(text) > _RANGE_MAX:
        raise UsageError(f"{text[:80]!r} is no range of versions: longer than {_RANGE_MAX} characters")
    branches = [_branch(branch.strip(), text) for branch in (text or "*").split("||")]
    return lambda version: any(branch(version) for branch in branches)


def _branch(branch: str, whole: str) -> Any:
    """One side of ``||``: conditions with commas or blanks between them, all of which must hold."""
    import semantic_version

    words = _OPERATOR.sub(r"\1", branch.replace(",", " "))
    hyphens = _HYPHEN.sub("\0", words).split()
    excluded = [parse_version(word[2:]) for word in hyphens if word.startswith("!=")]
    kept = " ".join(_as_npm(word) for word in hyphens if not word.startswith("!=")) or "*"
    try:
        clause = semantic_version.NpmSpec(kept).clause
    except (ValueError, AttributeError):  # the library falls over some ends of a "1 - 2"
        raise UsageError(
            f"{whole[:80]!r} is no range of versions", hint="write it like ^1.2, ~1.2.3 or >=1.0 <2"
        ) from None
    if None in excluded:
        raise UsageError(f"{whole[:80]!r} is no range of versions: != needs a whole version")
    takes_pre = bool(re.search(r"[0-9x*]-[0-9A-Za-z]", words))

    def fits(version: Any) -> bool:
        if version in excluded or (version.prerelease and not takes_pre):
            return False
        return bool((_with_all_pre(clause) if takes_pre else clause).match(version))

    return fits


def _as_npm(word: str) -> str:
    word = re.sub(r"(^|[=<>~^\0])v(?=[0-9])", r"\1", word.replace("~>", "~"))
    return word.replace("\0", " - ")


def _with_all_pre(clause: Any) -> Any:
    """The clause with pre-releases compared by order alone, as Helm's library does once a range names one."""
    from semantic_version.base import AllOf, AnyOf, Range

    if isinstance(clause, Range):
        return Range(clause.operator, clause.target, prerelease_policy=Range.PRERELEASE_ALWAYS)
    if isinstance(clause, AllOf | AnyOf):
        return type(clause)(*map(_with_all_pre, clause))
    return clause
