"""The demonstration: the installed command in subprocesses, two roots, a stick that gets damaged, a real client.

`steps` is the way of the data from first to last; `side` is one root and the command on it, `stick` and `image` what is
carried, `servers` and `own_client` where it comes from and who pulls it, `diode` the second way across, over `wire`.
"""
