"""Keys, signed envelopes, roots and their rotation: whose signature counts for what.

Format: docs/format/trust.md. `keys` signs and verifies, `envelope` is DSSE, `root` is the signed list of keys and
roles with its chain of versions, `rotation` makes new versions, `checks` judges a bundle's signatures, `words` is the
fingerprint that people compare, `store` is the folder ``trust/``.
"""
