"""One family of errors: what happened, in which object, what to do next, and an exit code that stays.

A class exists for each thing that a person would handle differently. The catalogue of exit codes
(docs/operating/exit-codes.md) is checked against this module by a test. Rooms raise these
classes; nothing else may leave a parser of outside bytes.

Exit codes: 1 unexpected, 2 usage, 3 partial, 4-19 low side, 20-29 media and carriers, 30-49 a bundle is
refused, 50-59 high side, 60-69 ledger, 70-79 state and host, 80-89 trust and keys, 90-99 return slip.
"""


class TidegateError(Exception):
    """Anything that Tidegate refuses or cannot do."""

    exit_code = 1
    hint = ""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        if hint is not None:
            self.hint = hint

    @property
    def message(self) -> str:
        return str(self.args[0])


class UsageError(TidegateError):
    """The command line, a setting or a transfer list does not say something that can be done."""

    exit_code = 2


class PartialError(TidegateError):
    """Some of what was asked for was done, and the rest failed and is listed."""

    exit_code = 3


# --- low side: lock and reproduce -------------------------------------------------------------


class LockMissingError(TidegateError):
    """A transfer list asks for something that its lock file does not have."""

    exit_code = 4
    hint = '"tidegate lock LIST.yaml" adds what is missing and leaves the rest as it is'


class LockDiffersError(TidegateError):
    """Files are not what the lock file says that they were."""

    exit_code = 5
    hint = '"tidegate lock LIST.yaml NAME --update" takes them as they are now'


class NotReproducedError(TidegateError):
    """What was built from the sources is not what the bundle carries."""

    exit_code = 6


# --- low side: collect and pack ---------------------------------------------------------------


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


# --- media and carriers -----------------------------------------------------------------------


class MediaError(TidegateError):
    """A medium cannot be used as asked."""

    exit_code = 20


class VolumeMissingError(MediaError):
    """Parts of a bundle were not read, and the repair symbols at hand cannot stand in for them."""

    exit_code = 21
    hint = "have the low side write the bundle again, or insert another copy; what was read is kept"


class MediaFullError(MediaError):
    """The medium has no room for the bundle."""

    exit_code = 22


class MediaWriteError(MediaError):
    """Writing to the medium failed, or what was read back is not what was written."""

    exit_code = 23
    hint = "use another medium; this one must not be trusted"


class MediaNotFoundError(MediaError):
    """No medium is plugged in, or more than one and none was named."""

    exit_code = 24


class NothingOnMediumError(MediaError):
    """The medium holds no bundle that Tidegate can recognise."""

    exit_code = 25


class CarrierFormatError(MediaError):
    """An announcement, label or index block breaks docs/format/media.md."""

    exit_code = 26


class MediumLostError(MediaError):
    """The medium went away while it was read or written."""

    exit_code = 27
    hint = "plug the medium in again and run the same command: it goes on where it stopped"


class MediumChangedError(MediaError):
    """A medium came back with something added, changed or missing, or it is another one than was given away."""

    exit_code = 28
    hint = "keep it apart, open nothing on it, and tell whoever is responsible for security"


# --- a bundle is refused ----------------------------------------------------------------------


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


class EpochError(SequenceError):
    """The bundle is of another epoch than the pinned root."""

    exit_code = 41
    reason = "epoch"


class AheadError(SequenceError):
    """The number, or the time of creation, jumps further than the limit."""

    exit_code = 42
    reason = "ahead"


class StaleError(SequenceError):
    """The number lies below the window, or what it names is void."""

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


# --- high side: load and serve ----------------------------------------------------------------


class LoadError(TidegateError):
    """A loader could not put content where it was asked to."""

    exit_code = 50


class NotReleasedError(LoadError):
    """The channel's release policy is not satisfied."""

    exit_code = 51


class UnsafePathError(LoadError):
    """A file in a tree would land outside of the target, or overwrite through a link."""

    exit_code = 52


class NameTakenError(LoadError):
    """Two artifacts would have the same name in one place."""

    exit_code = 53


class StageUnknownError(LoadError):
    """No stage of that name exists."""

    exit_code = 54


# --- ledger -----------------------------------------------------------------------------------


class LedgerError(TidegateError):
    """The ledger cannot be written or read; nothing happens that cannot be recorded."""

    exit_code = 60


class LedgerDamagedError(LedgerError):
    """The ledger differs from what its own checkpoint or an outside checkpoint says."""

    exit_code = 61
    hint = "keep the folder as it is: a damaged ledger is sealed, never rewritten"

    def __init__(self, message: str, *, findings: tuple[str, ...] = (), hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        #: one sentence for each difference, naming the place
        self.findings = findings or (message,)


class LedgerBusyError(LedgerError):
    """Another process writes the ledger and did not finish in time."""

    exit_code = 62


# --- state and host ---------------------------------------------------------------------------


class StateError(TidegateError):
    """The state under the root is missing, of another version, or contradicts itself."""

    exit_code = 70


class NotInitialisedError(StateError):
    """This host has no Tidegate root yet, or one of the other side."""

    exit_code = 71
    hint = 'run "tidegate init low --channel NAME --site SITE" or "tidegate init high --site NAME"'


class DiskFullError(StateError):
    """The disk under the root has no room, or the quota is reached."""

    exit_code = 72


class HostError(StateError):
    """The operating system refused something (permission, a missing program)."""

    exit_code = 73


class BusyError(StateError):
    """Another Tidegate command works on the same thing."""

    exit_code = 74


class StateDamagedError(StateError):
    """The state database is damaged, or is no database."""

    exit_code = 75
    hint = "keep state.db for study and restore it from a backup; the ledger and the depot do not depend on it"


# --- trust and keys ---------------------------------------------------------------------------


class TrustError(TidegateError):
    """A root, a pairing file or a key cannot be accepted."""

    exit_code = 80


class FingerprintError(TrustError):
    """The words given do not match the pairing file."""

    exit_code = 81
    hint = "compare the words by voice with the person on the other side; do not copy them from the file's own medium"


class RotationError(TrustError):
    """A chain of roots breaks the rotation rule, or goes back in version or epoch."""

    exit_code = 82


class KeyFileError(TrustError):
    """A private key is missing, has wrong permissions, or the passphrase is wrong."""

    exit_code = 83


# --- return slip ------------------------------------------------------------------------------


class SlipError(TidegateError):
    """A return slip or code cannot be taken; each check has a class of its own."""

    exit_code = 90
    #: machine word, as in the ledger's `reason` field
    reason = "slip"


class SlipMistypedError(SlipError):
    """A line of a slip, or a code, is not as it was printed."""

    exit_code = 91
    reason = "slip-mistyped"
    hint = "compare it with the slip letter by letter and type it again; there is no O, I, L or U in codes"


class SlipForgedError(SlipError):
    """The slip is not signed by the site's ledger key, or a code was not computed from the bundle's content."""

    exit_code = 92
    reason = "slip-forged"
    hint = "call the site, and have it print the slip again"


class SlipSiteError(SlipError):
    """The slip is of a site or channel that this side does not know or does not serve."""

    exit_code = 93
    reason = "slip-site"


class SlipOldError(SlipError):
    """A newer slip of this site was read already."""

    exit_code = 94
    reason = "slip-old"
    hint = "have the site print a new slip"


class SlipClaimError(SlipError):
    """The slip says that the site holds what was never sent."""

    exit_code = 95
    reason = "slip-claim"
    hint = "keep the slip and call the site: one of the two sides was put back, or somebody else sends"


class SlipForkError(SlipError):
    """The site's ledger, or a bundle that it holds, is another one than this side knows."""

    exit_code = 96
    reason = "slip-fork"
    hint = "keep the slip as evidence, and call the site"
