"""Built-in execution backends: local, slurm, and those behind a queue or a cloud in their own packages."""
