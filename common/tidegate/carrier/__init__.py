"""What takes symbols across: announcements, the layout of a volume on a medium, and reading symbols off it.

Bytes are specified in docs/format/media.md. `medium` and `reader` open files and parse nothing; everything else
parses or computes and opens nothing.
"""
