"""From what a person asks for to artifacts in the depot: the only step that talks to the low side's sources.

`arguments` and `transfer_list` say what is wanted (`items`), one module for each kind of source brings it, `pipeline`
runs them and reports what failed. Bytes of folders and files: docs/format/content.md.
"""
