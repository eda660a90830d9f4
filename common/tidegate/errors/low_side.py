"""Exit codes 4 to 19: locking, collecting and packing on the low side."""

from tidegate.errors.base import TidegateError


class LockMissingError(TidegateError):
    """A transfer list asks for something that its lock file does not have."""

    exit_code = 4
    hint = '"tidegate lock LIST.yaml" adds what is missing and leaves the rest as it is'


class LockDiffersError(TidegateError):
    """Files are not what the lock file says that they were."""

    exit_code = 5
    hint = '"tidegate lock LIST.yaml --update" takes all as it is now, "tidegate lock LIST.yaml NAME --update" one'


class NotReproducedError(TidegateError):
    """What was built from the sources is not what the bundle carries."""

    exit_code = 6


class RidesAgainError(TidegateError):
    """A bundle would carry again more than the limit of what was sent before and is not confirmed."""

    exit_code = 7
    hint = (
        'read the slip of the site first: "tidegate slip read"; or leave out what a bundle carried with --since BUNDLE,'
        " or take it all the same with --again-max SIZE (0: no limit)"
    )


class LinkError(TidegateError):
    """A link cannot be sent over as asked: its address, MTU, or what this host lets out."""

    exit_code = 8
    hint = '"tidegate doctor --link udp://ADDRESS" looks at the way there'


class LinkDownError(LinkError):
    """The interface of a link is down or gone, or there is no way to its address."""

    exit_code = 9
    hint = "run the same command again when the link is up: it goes on where it stopped"


class CollectError(TidegateError):
    """A source did not give an artifact that was asked for."""

    exit_code = 10


class RegistryError(CollectError):
    """A registry refused, failed, or answered something that is no answer."""

    exit_code = 11
    #: HTTP status, and the code in the registry's answer (MANIFEST_BLOB_UNKNOWN …), where there was an answer
    status: int = 0
    code: str = ""


class RegistryAuthError(RegistryError):
    """A registry wants credentials (401, 403)."""

    exit_code = 12


class RegistryLiesError(RegistryError):
    """A registry gave bytes whose digest, size or media type is not what it said."""

    exit_code = 13


class DepotError(TidegateError):
    """A blob of the depot is missing, damaged, or an artifact's graph breaks a limit."""

    exit_code = 14


class BlobMissingError(DepotError):
    """A blob that an artifact needs is not in the depot."""

    exit_code = 15


class BlobDamagedError(DepotError):
    """A blob's bytes do not have the digest that names it."""

    exit_code = 16


class GraphError(DepotError):
    """A manifest or index is malformed, too deep, too wide, or refers to itself."""

    exit_code = 17


class BundleUnknownError(TidegateError):
    """No bundle of that name is known here."""

    exit_code = 18


class SourceChangedError(CollectError):
    """A file changed or went away while it was read."""

    exit_code = 19
    hint = "collect it again when nothing writes to the folder, or from a copy or snapshot"
