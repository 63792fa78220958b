"""Built-in range parsers and metric sources, one file each.

grid_ranges, optimizer_ranges  the two grammars of ranges; range_text has what they share
fitness      `fitness: NUMBER` lines
regex_lines  lines by a pattern of the user's
run_files    CSV, JSON, MLflow and W&B in the workspace, by file_formats
printed      any printed line, taken apart by printed_lines
tensorboard  event files, read by event_files
jsonl        lines of JSON
"""
