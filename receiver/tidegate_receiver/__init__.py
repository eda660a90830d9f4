"""The high side: from what carriers bring to where people use it.

    watching, listener ─► intake (reassembly) ─► quarantine ─► promotion (loaders, naming) ─► serving

`watching` takes media and `listener` a stream; both give copies of bundles to the `intake`, which checks them in one
order and fills their content by `reassembly`. `promotion` moves what may be loaded to stages and targets, and `serving`
offers a stage. Nothing of `tidegate_sender` is known here; the order of the rooms is a contract in pyproject.toml.
"""
