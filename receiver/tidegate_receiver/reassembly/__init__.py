"""A bundle's content from symbols: mended, verified chunk by chunk, in bounded memory."""
