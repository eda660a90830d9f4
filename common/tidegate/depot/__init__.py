"""The content store of either side: an OCI image layout, and the graph of blobs that an artifact is.

`descriptors` and `graph` read the JSON of the OCI specifications with limits. `layout` is blobs and names on a disk;
`commit` brings blobs into it in groups, by way of `incoming`; `store` is the depot that callers hold, with its garbage.
Format: docs/format/content.md.
"""
