"""Media that are plugged in, received as they come.

`watch` is the one loop: whatever can announce a medium puts it into one queue. `folders` looks at folders that stand
for media. What the kernel says of mounts is `tidegate.media`.
"""
