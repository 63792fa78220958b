"""One experiment where it runs, on this machine or on a worker.

runner          starts, watches, limits and ends scripts
script_process  one process: its start, its end, its memory
run_folder      workspace with values, artifacts, outcome.json
log_cap         head and tail of a long log stay
metric          the value of a metric so far; all metrics of a run that ended
memory          what the kernel killed, and what a run took
reason          why a run failed, in a line
"""
