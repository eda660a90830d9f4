"""What all errors have, and those that any command can end with: exit codes 1 to 3."""


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
