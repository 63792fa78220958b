"""Files, processes, signals and devices of this machine, independent of searches.

files        atomic writes to regular files; kind and free space of a disk
copying      copies of trees, and their removal whatever is in them
processes    all processes of a run, by group and mark; the watchdog
machine      CPUs and GPUs, and the threads of one run
signals      Ctrl-C: once drains, twice stops, three times kills
tail         growing files, each byte read once
"""
