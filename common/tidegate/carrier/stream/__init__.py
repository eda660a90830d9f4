"""The stream: datagrams of one symbol each, that need nothing to come back. Format: docs/format/stream.md.

What both sides share stands here: headers (whole arrays of them at a time), addresses, the choice of the code, the
order in which a session sends, the preamble in pieces, heartbeats. Sockets belong to the sender and the receiver.
"""
