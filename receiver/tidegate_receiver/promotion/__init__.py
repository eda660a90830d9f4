"""From quarantine to where people use it: stages, targets, reports, and taking away again."""
