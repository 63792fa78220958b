"""Built-in execution backends: local, and those behind a queue or a cloud in their own packages."""
