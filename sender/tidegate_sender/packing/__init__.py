"""From a list to a signed bundle in the spool: collect, the base, the body, chunks, records."""
