"""The outbox: a folder that goes over a link by itself, and what was sent goes again while the link is idle.

folder.py    lists and bundles that people put down
intake.py    what becomes of them: lists are packed in a process of their own
queue.py     what waits, by priority: hold, cancel, first, resend
repeats.py   what of that which was sent is sent again in idle time
pulse.py     heartbeats, and the daily canary
runner.py    one loop: whatever is most urgent sends its next group
"""
