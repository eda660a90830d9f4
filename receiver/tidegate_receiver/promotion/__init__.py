"""From quarantine to where people use it.

promotion     the whole of it: quarantine ─► depot ─► stage ─► targets, killed and continued at any step
  plan          all that can be found wrong before anything is changed
  bundle        what it brings and builds on;  release: whether it may be loaded;  provenance: what belongs to images
  destinations  where it goes besides the stage;  rewriting: under which names
  stages        the layouts that are offered;  target: one target, item by item (`tidegate_receiver.loaders`)
  entries       what the ledger gets
after_load    reports of names (`tidegate_receiver.naming`), and whoever is to be told
pruning       what upstream removed, taken away at a target when somebody says so
direct        the same checks and entries where one host reaches both sides, without a bundle
"""
