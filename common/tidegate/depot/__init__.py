"""The content store of either side: an OCI image layout, and the graph of blobs that an artifact is.

`store` keeps blobs and names on a disk, `descriptors` and `graph` read the JSON of the OCI specifications with limits.
Format: docs/format/content.md.
"""
