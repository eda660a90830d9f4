"""The record of what happened: a C2SP tlog-tiles log on plain files, and its one writer.

`entries` says what an entry is, `merkle`, `tiles` and `checkpoint` are the formats (bytes in, values out), `log` reads
and writes the files, `recorder` moves entries from the state's outbox into the log, `verify` recomputes everything.
Format: docs/format/ledger.md.
"""
