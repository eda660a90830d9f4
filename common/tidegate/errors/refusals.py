"""Exit codes 30 to 49: a bundle does not pass a check, each of which has a class of its own."""

from tidegate.errors.base import TidegateError


class RefusedError(TidegateError):
    """A bundle does not pass a check; each check has a class of its own."""

    exit_code = 30
    #: machine word of the outcome, as in the ledger's `reason` field
    reason = "refused"


class FormatError(RefusedError):
    """Bytes break a limit or a rule of docs/format."""

    exit_code = 31
    reason = "format"


class FeatureUnknownError(RefusedError):
    """The bundle needs a critical feature that this version does not know."""

    exit_code = 32
    reason = "feature-unknown"
    hint = "update this side, or have the low side write an older format"


class SignatureError(RefusedError):
    """A signature does not hold, or the threshold of its role is not reached."""

    exit_code = 33
    reason = "signature"
    hint = 'quarantine this medium; list trusted keys with "tidegate trust list"'


class KeyRevokedError(SignatureError):
    """The key that signed is revoked in the channel's root."""

    exit_code = 34
    reason = "key-revoked"


class ChannelUnknownError(RefusedError):
    """The channel is not pinned on this side, or a key of another channel signed."""

    exit_code = 35
    reason = "channel-unknown"
    hint = 'pin the channel with "tidegate trust add FILE --fingerprint …" after comparing the words by voice'


class AudienceError(RefusedError):
    """The bundle is meant for another site."""

    exit_code = 36
    reason = "audience"


class ExpiredError(RefusedError):
    """The bundle's expiry lies before the trusted floor of time."""

    exit_code = 37
    reason = "expired"
    hint = "ask the low side to pack it again"


class DigestError(RefusedError):
    """A table, chunk or blob does not have the digest that was signed."""

    exit_code = 38
    reason = "digest"


class SequenceError(RefusedError):
    """The bundle's number cannot be taken: stale, beyond the window, of another epoch, void or a fork."""

    exit_code = 39
    reason = "sequence"


class ForkError(SequenceError):
    """Two different bundles carry one number."""

    exit_code = 40
    reason = "fork"
    hint = "keep both media as evidence and call the low side"

    def __init__(self, message: str, *, others: tuple[str, ...] = (), hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        #: bundle_ids of the other bundles with this number
        self.others = others


class EpochError(SequenceError):
    """The bundle is of a newer epoch than the newest root that is known here."""

    exit_code = 41
    reason = "epoch"


class AheadError(SequenceError):
    """The number, or the time of creation, jumps further than the limit: the bundle waits until somebody admits it."""

    exit_code = 42
    reason = "ahead"


class StaleError(SequenceError):
    """The number lies below the window or the floor, is void, or is of an older epoch."""

    exit_code = 43
    reason = "stale"


class RequiredMissingError(RefusedError):
    """Content that the bundle builds on is not on this side, or not loaded."""

    exit_code = 44
    reason = "required-missing"


class LimitError(RefusedError):
    """A signed size is above what this side accepts, or above what its role may carry."""

    exit_code = 45
    reason = "limit"


class TamperedError(RefusedError):
    """Symbols are present but wrong, and could not be told from the right ones within the budget of time."""

    exit_code = 46
    reason = "tampered"
    hint = "keep the medium as evidence, and have the low side write the bundle again"


class ProvenanceError(RefusedError):
    """What must belong to an image is not there, or its signature does not hold."""

    exit_code = 47
    reason = "provenance"
    hint = "ask whoever publishes the image; what must be there stands in the transfer list, under expect"

    def __init__(self, message: str, *, verdicts: tuple[tuple[str, str], ...] = (), hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        #: (name, verdict) of every image that was looked at
        self.verdicts = verdicts


def reason_of(error: TidegateError) -> str:
    """The machine word of an error, as in the ledger's `reason`."""
    if isinstance(error, RefusedError):
        return error.reason
    name = type(error).__name__.removesuffix("Error")
    return "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("-")
