"""What brings a bundle to the intake: copies of it, each a source of symbols with a verified announcement.

A copy is a volume of a medium, what was carved out of a broken one, or a session of a stream. The intake does not know
which: it asks for groups of symbols, and mends, verifies and records in the same way whatever carried them.
"""

from dataclasses import dataclass

from tidegate_receiver.intake.verification import VerifiedAnnouncement
from tidegate_receiver.reassembly.copies import CopySource


@dataclass(frozen=True, slots=True)
class Copy:
    """One copy of a bundle, or a part of one. The source's announcement is the verified one."""

    verified: VerifiedAnnouncement
    source: CopySource
