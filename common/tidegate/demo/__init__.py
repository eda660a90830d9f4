"""The demonstration: the installed command in subprocesses, two roots, a stick that gets damaged, a real client."""
