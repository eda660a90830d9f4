"""Up to which number bundles were sent, as the last heartbeats of a channel say: so that one that never came is named.

Only a carrier key vouches for it, which the hosts of a link have: it is shown to people, and nothing is signed or
decided because of it (docs/decisions/0023-signs-of-life.md).
"""

import json

from tidegate.state.db import Transaction
from tidegate.state.meta import list_meta
from tidegate.trust.payload import RoleName, Root

#: in the state's `meta`, with the key's id and the link's name behind it: the last heartbeat of that key and link
HEARTBEAT_PREFIX = "link.heartbeat."


def sent_up_to(tx: Transaction, channel_id: str, root: Root) -> int:
    """The highest number of the newest epoch that a carrier key of the newest `root` has said; 0 for none."""
    role = root.roles.get(RoleName.CARRIER)
    trusted = frozenset(role.keys if role is not None else ())
    said = 0
    for key, value in list_meta(tx, HEARTBEAT_PREFIX):
        facts = json.loads(value)
        about = (facts.get("channel_id"), facts.get("epoch"))
        # Without an epoch it is of an older Tidegate, which may have meant the epoch before.
        if about == (channel_id, root.epoch) and _key_of(key) in trusted:
            said = max(said, int(facts["sequence"]))
    return said


def _key_of(key: str) -> str:
    return key.removeprefix(HEARTBEAT_PREFIX).partition(".")[0]
