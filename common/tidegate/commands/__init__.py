"""The commands of both sides, a module each: options in, one pipeline called, its report printed.

`options` are those that every command has, and the groups that they stand in; `halves` is a command whose two halves
belong to different sides. `findings`, `doctor_link`, `keys_change`, `ledger_witness` and `site_trust` are parts of
larger ones.
"""
