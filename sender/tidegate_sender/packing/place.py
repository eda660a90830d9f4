"""Where the next bundle stands in its channel: which number it gets, and which bundles are before it."""

from dataclasses import dataclass

from tidegate.names import bundle_name
from tidegate.state.bundles import BundleRow


@dataclass(frozen=True, slots=True)
class Place:
    """Where the next bundle stands in its channel."""

    channel_id: str
    channel_name: str
    epoch: int
    sequence: int
    #: the bundle before; None for the first of a channel or epoch
    previous: BundleRow | None
    #: the newest bundle, sent or not
    newest: BundleRow | None

    @property
    def replaced(self) -> BundleRow | None:
        """The unsent bundle that has the number now."""
        return self.newest if self.newest is not None and self.newest.sequence == self.sequence else None

    @property
    def name(self) -> str:
        return bundle_name(self.channel_id, self.sequence)
