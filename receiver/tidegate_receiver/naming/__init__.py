"""Reports of old and new names: what was put to a target, as the files that clusters and tools read.

`rows` reads what was loaded; `mirrors`, `carvel`, `policies` and `lists` write one kind of file each; `formats` names
them all. The same rows give the same bytes, and whatever is in a name is escaped as the format asks.
"""
