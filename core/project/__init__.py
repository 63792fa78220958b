"""A search on disk."""
