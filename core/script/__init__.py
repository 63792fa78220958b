"""The program that runs, and the places where values go into it.

command       the command that runs, and the script's file in it
python_file   a Python file: its text and its syntax tree, parsed once
scopes        resolution of names to bindings
constants     values of constant expressions
reads         reads and assignments of names
outline       definitions, calls and named constants of a file
program       the script, its local modules, arguments and environment
json_file     the values of a JSON text, and their positions
scalar        a value in a configuration file, and how another is written there
notebook      a notebook's code as Python; run_notebook runs one
paths         paths that Python code makes, as far as they are known
outside       files beside the working directory, such as `../data`
literals      a value as Python text
places/       the kinds of places that a value can go to, and the choice of one by its name
asked_options  options that the script's own parser has; parser_probe is the hook that asks it
substitution  values written into a program
unknown_arguments  an argument that the script's parser refuses
diff          unified diffs for `git apply`
printed       the lines and metrics that a program would print and log
library_metrics  what libraries report by themselves
proposal      ranges, and the hyperparameters to search first
apply         values written into the user's own files
"""
