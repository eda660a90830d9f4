"""A bundle over several media, one after another, today or tomorrow.

`plan` says which groups lie on which medium (values only), `state` how far a set is, from one medium to the next, and
`delivery` writes the next volume and remembers it. Each volume is written by `tidegate_sender.media`.
"""
