"""What a carrier brings, checked in one order and taken into quarantine.

intake            a medium: its volumes (`looks`, `carving`), who speaks, its bundles one by one
bundle_intake     one bundle from its `copies`, step by step:
  roots             a newer root of the channel, before anything is judged by it
  bundle_papers     covers and head from the copies, or from the spool
  verification      the one order of checks, each with its own error
  requirements      what it builds on;  room: whether there is room for it
  bundle_content    its content, filled from the copies (`tidegate_receiver.reassembly`)
  witness           the low side's ledger that rides in its cover;  witness_heard: as heartbeats tell of it
  records           rows and entries, in one transaction;  outcomes: what receiving came to
  quarantine        where it lies, as an OCI layout
admission         what waits is let in or turned away;  standing: what was taken before, judged as of today
numbering         which numbers are here, missing and void;  volume_sets: which sticks of a set are missing
unverified, evidence, media_register: what is not verified yet, forks, and which medium it was

Carriers bring symbols and no trust: a stream's session comes through the same steps (`tidegate_receiver.listener`).
"""
