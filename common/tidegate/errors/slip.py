"""Exit codes 90 to 99: return slips and codes."""

from tidegate.errors.base import TidegateError


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
