"""References to images, and a client for the OCI distribution API: pull, push, nothing else.

`transport` speaks HTTP and turns every failure into an error that names the registry; `client` knows the API. Neither
keeps blobs: they go to a writer of the caller, who checks their digest.
"""
