"""This machine: what it has and does, with no word about searches.

files        regular files only, written whole or not at all; how full the disk is
copying      trees copied for real, and removed whatever is in them
processes    all processes of a run, by group and mark; the watchdog
machine      CPUs and GPUs, and shares of them
signals      Ctrl-C once drains, twice ends, three times kills
tail         files that grow, each byte read once
"""
