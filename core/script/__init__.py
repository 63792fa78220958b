"""Which program runs, and where values go into it."""
