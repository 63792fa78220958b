"""This machine: files, processes, signals, growing files."""
