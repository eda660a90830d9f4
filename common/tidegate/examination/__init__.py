"""What a bundle is, who signed it, and whether it is whole: for `show` and `verify`, on any host, without keys.

`places` says what was meant, `examine` follows a receiver's order of checks, `chunk_check` and `blob_check` compare
content with its digests, `findings` are the values that come of it.
"""
