"""The low side: from what people ask for to bundles on media and links.

    commands ─► packing (collect ─► depot ─► bundle) ─► delivery (media), sets, stream ─► outbox

`collect` is the only room that talks to sources, `packing` makes bundles, `media` and `stream` put symbols onto a
carrier, `delivery` and `sets` say which and record it, `outbox` sends by itself. `slips` is what came back; `riding` is
what of the own ledger goes along. Nothing of `tidegate_receiver` is known here; the order of the rooms is a contract in
pyproject.toml.
"""
