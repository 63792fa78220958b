"""Built-in range parsers and metric sources, one file each.

grid_ranges, optimizer_ranges  the two grammars of ranges; range_text has what they share
fitness      `fitness: NUMBER` lines
printed      any printed line, taken apart by printed_lines
tensorboard  event files, read by event_files
jsonl        lines of JSON
"""
