"""The record of what happened: a C2SP tlog-tiles log on plain files, and its one writer.

`entries` says what an entry is (`bundle_facts`: of which bundle); `merkle`, `tiles`, `checkpoint`, `proofs`, `receipts`
and `cosignature` are the formats (bytes in, values out). `log` reads the files and `writer` appends to them, `recorder`
moves entries from the state's outbox into the log, `listing` shows them, `verify` recomputes everything. What one side
knows of the other's ledger: `riding` is what rides in a cover, `witness_memory` and `witness_folder` what was seen,
`log_copy` the copy, `low_side` what is read out of it. Formats: docs/format/ledger.md, witness.md.
"""
