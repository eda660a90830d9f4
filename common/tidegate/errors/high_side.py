"""Exit codes 50 to 59: releasing, loading and serving on the high side."""

from tidegate.errors.base import TidegateError


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


class ContentMissingError(LoadError):
    """A stage has not all that manifests or charts need."""

    exit_code = 57
