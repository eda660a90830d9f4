"""A bundle's *papers*: what stays of it on the high side beside its blobs, in ``quarantine/<bundle_id>/bundle/``.

The names of the files and nothing else: intake writes them, promotion reads them, `show` and `verify` look at them.
"""

from tidegate.units import MIB

PAPERS_FOLDER = "bundle"
MANIFEST_FILE = "manifest.json"
TABLES_FILE = "tables"
COVER_FILE = "cover"
ANNOUNCEMENT_FILE = "announcement"
CHAIN_FILE = "channel.root"

#: the channel's chain as it is stored (trust.md, T-33)
CHAIN_MAX_BYTES = 1 * MIB
