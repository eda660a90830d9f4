"""Exit codes 60 to 69: the ledger."""

from tidegate.errors.base import TidegateError


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


class LedgerForkError(LedgerError):
    """The other side's ledger contradicts what this side saw of it before: somebody keeps two."""

    exit_code = 63
    hint = (
        "both heads are kept under evidence/; call the low side, and compare its checkpoint with a third site's."
        ' The content is whole and signed; "tidegate ledger accept BUNDLE --reason TEXT" lets it be loaded'
    )
