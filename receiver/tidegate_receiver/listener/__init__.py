"""The high side's end of a stream: datagrams in, bundles in quarantine out. Nothing here ever answers.

socket ─► reader (a process: recvmmsg, nothing else) ─► ring in shared memory
─► worker (headers of many slots at once, symbols into groups) ─► a thread for each session ─► the intake of media

opening              the socket, as good as this host allows;  reader, ring: datagrams off it, and their memory
worker               batches as arrays, each to its session
  batches, groups      where datagrams lie, and groups of symbols on their way in
  speakers, expected   who may speak, and which announcements to look at first
  sessions, session    those under way;  source, taking: one as a copy of its bundle, for the intake
heartbeats, canaries signs of life, and what their absence means
heard                up to which number bundles were sent, as heartbeats say
keeping              what is old and not whole goes
counting, status     what is counted, and how `link status` tells it
"""
