"""From a list to a signed bundle in the spool.

request      collect, an entry for what came and what did not, pack
pack         one bundle, step by step:
  place        which number it gets, and what stands before it
  content      the blobs that the wanted artifacts reach, in the one order of the format
  base         what the high side has: by `confirmed` slips, a `baseline`, what was `streamed`, or as a person says
  layout       which bytes go into which chunk, known before a byte is read
  chunks       blobs read once, verified, compressed (threads)
  body         what of the bundle follows from content and draft alone
  lists        which list asked for what;  removed: which names left their list
  records      the one transaction that counts
planning     what a pack would bring; nothing is changed
reproduction the body once more from its sources, and one digest compared

Format: docs/format/bundle.md.
"""
