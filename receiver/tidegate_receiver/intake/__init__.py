"""What a carrier brings, checked in one order and taken into quarantine."""
