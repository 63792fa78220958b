"""Built-in range parsers and metric sources, one file each.

grid_ranges, optimizer_ranges  the two grammars of ranges; range_text has the shared parsing
fitness      `fitness: NUMBER` lines; output_reader has what readers of output share
regex_lines  lines that match the user's pattern
run_files    CSV, JSON, JSON lines, MLflow and W&B in the workspace, by file_formats
printed      any printed line, parsed by printed_lines
tensorboard  event files, read by event_files
"""
