"""Files, processes, signals and devices of this machine, independent of searches.

files        atomic writes to regular files; kind and free space of a disk
copying      copies of trees, and their removal whatever is in them
processes    marks, and signals to all processes of a run
watchdog     all processes of a run, by their marks; the program that kills them when their driver has died
machine      CPUs and GPUs, and the threads of one run
signals      Ctrl-C: once drains, twice stops, three times kills
tail         growing files, each byte read once
"""
