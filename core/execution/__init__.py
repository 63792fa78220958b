"""One experiment where it runs."""
