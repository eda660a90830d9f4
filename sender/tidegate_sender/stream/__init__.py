"""Sending over a stream, at wire speed.

    session.py     which groups, announcements, ends, in which order        (one thread sends)
      groups.py    a group made ready: read, encoded, headers               (one thread, one group ahead)
        messages.py  headers and symbols as what the kernel takes: nothing is laid out anew
      pacing.py    a rate is always in force
        link.py    the socket: segmentation by the kernel, MTU, a link that is down

Nothing comes back, so nothing here ever says that something arrived. Format: docs/format/stream.md.
"""
