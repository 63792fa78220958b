"""The execution of one experiment, on this machine or on a worker.

runner          starts, watches, limits and ends scripts
script_process  one process: its start, its end, its memory
run_folder      workspace with values, artifacts, outcome.json
log_cap         a long log keeps its head and its tail
memory          kills for lack of memory, and the memory of a run
metric_value    the value of a metric so far
metrics_seen    all metrics that an ended run had
metric_names    what the name of a number says: its direction, a result or a cost
reason          why a run failed, in one line
final_status    completed, failed, stopped or pruned
"""
