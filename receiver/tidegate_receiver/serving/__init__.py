"""A stage as a registry and chart repository."""
