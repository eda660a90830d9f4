"""A bundle's content from symbols: mended, verified chunk by chunk, in bounded memory.

copies           what the symbols of one copy can be asked for
sources          copies with one code fill each other;  symbol_store: what earlier ones left
reassembly       one bundle: fill, and compare the blobs
  filling          from a source that can be read again;  arriving: from one that gives each group once
  wrong_symbols    symbols that lie, located and taken for missing
  pipeline         verified chunks to content (threads);  blobs: the files that it goes into
  spooled_content  what is there, and what is not;  progress: the file that remembers it
spool            the one folder in which all of this lies

Who may bring symbols, and what the ledger says of it, is above: `tidegate_receiver.intake`.
"""
