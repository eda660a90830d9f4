"""A stage as a read-only registry and chart repository, for hosts that have none.

`server` accepts and ends connections (`patience` says how long a client may take), `api` answers as the OCI
distribution specification says, `charts` as a chart repository, and `page` is for people; what there is to serve they
all ask of `catalog`.
"""
