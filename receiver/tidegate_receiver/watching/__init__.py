"""Media that are plugged in."""
