"""Return slips on the low side: what comes back in a person's hand, and what follows from it.

`reading` verifies a slip or the code of one bundle, and records it; `memory` is what is kept of the slips of each site:
what was confirmed, and the head of the site's ledger; `withdrawing` takes back what was confirmed; `cosigning` signs
such a head. Format: docs/format/slip.md.
"""
