"""The high side's end of a stream: datagrams in, bundles in quarantine out. Nothing here ever answers.

socket ─► reader (a process: recvmmsg, nothing else) ─► ring in shared memory
─► worker (headers of many slots at once, symbols into groups) ─► a thread for each session ─► the intake of media
"""
