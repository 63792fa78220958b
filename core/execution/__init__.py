"""The execution of one experiment, on this machine or on a worker.

runner          starts, watches, limits and ends scripts
script_process  one process: its start, its end, its memory
run_folder      workspace with values, artifacts, outcome.json
log_cap         a long log keeps its head and its tail
metric          the value of a metric so far; all metrics of an ended run
memory          kills for lack of memory, and the memory of a run
reason          why a run failed, in one line
"""
