"""Helm charts: what a packaged chart says of itself, which images it names, and the OCI artifact that Helm knows it as.

Archives come from strangers and are read within limits; nothing is unpacked to a disk. Form: docs/format/content.md.
"""
