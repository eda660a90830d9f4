"""Writing a bundle to a medium: the plan, the files, and reading back."""
