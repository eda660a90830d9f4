"""The erasure code of both carriers: geometry of a part, memory of a group, encoding and mending.

Reed–Solomon over GF(2^8), byte for byte what `reedsolo` computes; the format is docs/format/erasure.md. Callers use
`geometry.PartGeometry`, `buffer.GroupBuffer` and `codec.GroupCodec`; which engine does the arithmetic is `choice`'s
business. No file or socket is opened here.
"""
