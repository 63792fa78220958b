"""Built-in execution backends: local, slurm, ssh; dask and ray on their base, engine, and engine_task on the engine's machines.

Those behind a queue or a cloud are in packages of their own.
"""
