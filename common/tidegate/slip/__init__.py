"""The return slip: the one thing that ever comes back, in a person's hand.

`base32`: letters without look-alikes, and the check of a line. `numbers`: numbers of bundles as ranges. `receipt`: what
only verified content gives. `code`: the short code of one bundle. `slip`: the whole slip. `site_key`: the key that
signs it. Format: docs/format/slip.md. Nothing here opens a file but `site_keys`.
"""
