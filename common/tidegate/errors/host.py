"""Exit codes 70 to 79: the state under the root, and the host."""

from tidegate.errors.base import TidegateError


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


class StateOldError(StateError):
    """The state database is older than the ledger beside it: it was restored from a backup, or is missing."""

    exit_code = 76
    hint = 'run "tidegate restore" before anything else: numbers must not be given twice (docs/operating/recovery.md)'


class StateDamagedError(StateError):
    """The state database is damaged, or is no database."""

    exit_code = 75
    hint = 'keep state.db for study, move it away, and run "tidegate restore", which rebuilds it from the ledger'
