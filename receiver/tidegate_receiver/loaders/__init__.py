"""Where artifacts are put for the high side's clients: one module for each kind of target.

`targets` says what ``--to`` means, `items` what loaders have in common. `registry` (with `harbor` and
`signature_merge`), `chart_repository`, `directory` (with `tree`), `image_tar` and `imgpkg_tar` (with `image_members`)
are the kinds. Which artifacts, in which order, and the ledger's entries are `tidegate_receiver.promotion`'s.
"""
