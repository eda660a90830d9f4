"""References to images by Docker's rules, and the names of artifacts in a depot, a stage and a registry.

``app`` means ``docker.io/library/app:latest``; the part before the first slash is a host when it holds a dot, a colon
or a capital letter, or is ``localhost``. Grammar: github.com/distribution/reference. Names: docs/format/content.md.
"""

import re
from dataclasses import dataclass

from tidegate.errors import UsageError
from tidegate.names import DIGEST

DOCKER_HUB = "docker.io"
_HOST_PART = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_HOST = re.compile(rf"(?:{_HOST_PART}(?:\.{_HOST_PART})*|\[[0-9a-fA-F:]+\])(?::[0-9]{{1,5}})?")
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(DIGEST)
_NAME_MAX = 255  # of host and repository, as Docker has it
_TITLE_MAX_BYTES = 128  # C-8
_FILES = "files/"


@dataclass(frozen=True, slots=True)
class Reference:
    """A normalised reference: `registry` is host or host:port; `tag` or `digest` may be empty, not both."""

    registry: str
    repository: str
    tag: str = ""
    digest: str = ""

    @property
    def name(self) -> str:
        """The artifact's name: with its tag where it has one, else with its digest."""
        return f"{self.registry}/{self.place}"

    @property
    def place(self) -> str:
        """Where a stage or another registry has it: without its host."""
        return f"{self.repository}:{self.tag}" if self.tag else f"{self.repository}@{self.digest}"

    @property
    def wanted(self) -> str:
        """What to ask the registry for: the digest where one is given, else the tag."""
        return self.digest or self.tag

    def __str__(self) -> str:
        return self.name + (f"@{self.digest}" if self.tag and self.digest else "")


def parse_reference(text: str) -> Reference:
    """Read what a person typed, normalised. Raises UsageError."""
    rest, at, digest = text.partition("@")
    if at and not _DIGEST.fullmatch(digest):
        raise _bad(text, f"{digest[:80]!r} is no sha256 digest")
    host, path = _split_host(rest)
    path, colon, tag = path.partition(":")
    if colon and not _TAG.fullmatch(tag):
        raise _bad(text, f"{tag[:140]!r} is no tag")
    if host == DOCKER_HUB and "/" not in path:
        path = f"library/{path}"
    if not _HOST.fullmatch(host):
        raise _bad(text, f"{host!r} is no registry")
    if not _REPOSITORY.fullmatch(path) or re.fullmatch(r"[0-9a-f]{64}", rest):
        capitals = "; repositories are written in small letters" if path != path.lower() else ""
        raise _bad(text, f"{path!r} is no repository{capitals}")
    if len(host) + 1 + len(path) > _NAME_MAX:
        raise _bad(text, f"longer than {_NAME_MAX} characters")
    return Reference(host, path, tag or ("" if digest else "latest"), digest)


def _split_host(text: str) -> tuple[str, str]:
    first, slash, rest = text.partition("/")
    if slash and is_host(first):
        return (DOCKER_HUB if first == "index.docker.io" else first), rest
    return DOCKER_HUB, text


def is_host(first: str) -> bool:
    """Whether the first component of a reference names a registry."""
    return first == "localhost" or "." in first or ":" in first or first != first.lower()


def is_repository(text: str) -> bool:
    """Whether `text` is the name of a repository, or the beginning of one."""
    return len(text) <= _NAME_MAX and _REPOSITORY.fullmatch(text) is not None


def without_scheme(text: str) -> str:
    """``localhost:5000/app`` of ``docker://localhost:5000/app``; empty for what has no scheme, or no place to name."""
    scheme, slashes, rest = text.partition("://")
    return rest.rstrip("/")[:300] if slashes and scheme.isalnum() and "@" not in rest.partition("/")[0] else ""


def _bad(text: str, reason: str) -> UsageError:
    text = re.sub(r"://[^/@]*@", "://…@", text[:1000])  # whoever typed a password there needs it no second time
    if rest := without_scheme(text):
        return UsageError(f"{text[:300]!r} is an address and no image reference", hint=f"write it as {rest}")
    return UsageError(
        f"{text[:300]!r} is no image reference: {reason}",
        hint='write images like "registry.example/app:1"; files and folders begin with ./ or / or ../',
    )


def place_of(name: str) -> str:
    """Where a stage or registry has the artifact `name`: ``app:1`` for ``localhost:5000/app:1``, ``files/docs:latest``.

    Always ``repository:tag`` or ``repository@sha256:…``. Raises UsageError for what is no name.
    """
    first, slash, rest = name.partition("/")
    local = rest if slash and is_host(first) else name
    repository, at, digest = local.partition("@")
    repository, colon, tag = repository.partition(":")
    if not _REPOSITORY.fullmatch(repository) or len(repository) > _NAME_MAX:
        raise UsageError(f"{name[:300]!r} is no name of an artifact")
    if at:
        if not _DIGEST.fullmatch(digest):
            raise UsageError(f"{name[:300]!r} is no name of an artifact: no sha256 digest")
        return f"{repository}:{tag}" if colon else f"{repository}@{digest}"
    if colon and not _TAG.fullmatch(tag):
        raise UsageError(f"{name[:300]!r} is no name of an artifact: no tag")
    return f"{repository}:{tag or 'latest'}"


def split_place(place: str) -> tuple[str, str]:
    """(repository, tag or digest) of a place."""
    repository, at, digest = place.partition("@")
    if at:
        return repository, digest
    repository, _, tag = place.rpartition(":")
    return repository, tag


def slug(text: str) -> str:
    """`text` as registries take it in a repository's name (C-12); empty where nothing of it can stand."""
    lowered = re.sub(r"[A-Z]+", lambda match: match[0].lower(), text)
    runs = re.sub(r"[^a-z0-9]+", lambda match: match[0] if match[0] in {"_", "."} else "-", lowered)
    return runs.strip("-._")


def check_title(title: str) -> None:
    """Refuse what is no title of a files artifact (C-8). Raises UsageError."""
    try:
        size = len(title.encode())
    except UnicodeEncodeError:
        raise UsageError(f"{title!r} is not UTF-8: give it a name in a transfer list") from None
    if not 1 <= size <= _TITLE_MAX_BYTES or title in {".", ".."}:
        raise UsageError(f"{title[:80]!r} cannot be the name of a folder or file: 1 to {_TITLE_MAX_BYTES} bytes")
    if any(c == "/" or c < " " or c == "\x7f" for c in title):
        raise UsageError(f"{title!r} cannot be the name of a folder or file: it holds a slash or control character")


def files_name(title: str) -> str:
    """The artifact's name of a folder or file called `title`. Raises UsageError."""
    check_title(title)
    short = slug(title)
    if not short:
        raise UsageError(
            f"{title!r} has no letter or digit that a registry takes in a name",
            hint='give it a name of a-z and 0-9 in a transfer list: "name: …" beside its path',
        )
    return _FILES + short
