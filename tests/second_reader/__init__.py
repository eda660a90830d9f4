"""An independent reader of bundles, media and ledgers, written from docs/format/ alone.

It shares no code with Tidegate and uses only the standard library, PyNaCl, blake3, zstandard, reedsolo and mnemonic.
Where it and Tidegate differ, a document was not exact enough, or one of the two is wrong.
"""
