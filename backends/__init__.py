"""Built-in execution backends. On this machine: local. With workers that an engine starts: slurm, ssh, kubernetes, skypilot.
As tasks of an engine: dask and ray on their base, engine, and engine_task on the engine's machines.

Backends with a queue or a cloud are in packages of their own.
"""
