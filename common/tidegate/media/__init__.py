"""Which media are plugged in, and what the host knows of them: for `send`, `receive` and `watch` alike.

`mountinfo` and `mounts` read the kernel's mount table, `plugged` says where to look, `arrival` waits. `token_file` is
the token on a medium, `snapshot` what lies on it, `sighting` compares both with what is remembered, and `register` is
the low side's book of them (`rebuilding`: from the ledger). `custody` is one medium's chain; `labels` and `paper` are
what goes along with it. Format of the token: docs/format/media-token.md.
"""
