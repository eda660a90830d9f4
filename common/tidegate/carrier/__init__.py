"""What takes symbols across: announcements, the layout of a volume on a medium, and reading symbols off it.

`announcement` and `frames` are what is signed, `token` a medium's own. `volume` and `stripes` say where all of it lies,
`spans` which groups, `parts` by which code; `blocks`, `records` and `run_slots` are the bytes of a file. `medium` looks
through a medium (`identify`, `found`) and `reader` takes symbols off it (`positional`); `carving`, `carved_search` and
`carved_reader` do both where the file system is broken (`raw_medium`). The other way across is `stream`.

Bytes are specified in docs/format/media.md. `medium` and the readers open files and parse nothing; everything else
parses or computes and opens nothing.
"""
