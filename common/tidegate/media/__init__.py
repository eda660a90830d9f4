"""Which media are plugged in, and what the host knows of them: for `send`, `receive` and `watch` alike."""
