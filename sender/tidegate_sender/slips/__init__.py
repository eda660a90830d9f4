"""Return slips on the low side: read, remembered, co-signed."""
