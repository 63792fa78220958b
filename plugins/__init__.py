"""Built-in range parsers, metric sources and rules for pruning, one file each.

grid_ranges, optimizer_ranges  the two grammars of ranges; range_text has the shared parsing
fitness      `fitness: NUMBER` lines; output_reader has what readers of output share
regex_lines  lines that match the user's pattern
run_files    CSV, JSON, JSON lines, MLflow and W&B in the workspace, by file_formats
printed      any printed line, parsed by printed_lines
pruning      `safe` and `fast`, which stop bad runs early
tensorboard  event files, read by event_files
"""
