"""The low side's commands, a module each: options in, one pipeline called, its report printed.

What several of them share: `asked_options` (what is wanted), `amounts` (shares and times as typed), `link_options`, and
of what sends `send_words`, `send_media`, `send_medium`, `send_set`, `send_stream`, `send_labels` and `send_room`.
"""
