"""Exit codes 20 to 29: media, and the carriers' own formats."""

from tidegate.errors.base import TidegateError


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
