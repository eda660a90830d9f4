"""The bundle: what is signed, carried and approved as one.

`manifest`, `tables`, `cover`, `header` and `chunks` turn bytes into values and back and open nothing; `container`
opens `.tgb` files; `placement` says where the content of a chunk belongs. Format: docs/format/bundle.md.
"""
