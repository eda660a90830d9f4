"""The high side's commands, a module each: options in, one pipeline called, its report printed.

`receive` has its words in `receive_report`, and over a link in `receive_stream`.
"""
