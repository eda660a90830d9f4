"""Writing a bundle to a medium, so that it may be removed afterwards.

writing        the whole of it: what lies there, room, write, sync, read back
  target         where on a medium the files go, and what of it is ours
  plan           the announcement, exact bytes, a range of time
  volume_writer  one volume: groups read, encoded, hashed and written, in record order
    file           one file, past the page cache where the file system lets
  read_back      every byte compared with what was written

Which bundle goes where, and what the ledger says of it, is above: `delivery`, `sets`. Format: docs/format/media.md.
"""
