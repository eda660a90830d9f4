"""What a bundle is, who signed it, and whether it is whole: for `show` and `verify`, on any host, without keys."""
