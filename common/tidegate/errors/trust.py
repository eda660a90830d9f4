"""Exit codes 80 to 89: roots, pairing and keys."""

from tidegate.errors.base import TidegateError


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
