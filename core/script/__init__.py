"""Which program runs, and where values go into it.

command       the command that runs, and which file is the script in it
python_file   a Python file: its text and its syntax tree, parsed once
scopes        which binding a name means
constants     what an expression is worth, where that can be told
reads         where names are read and assigned
outline       what a file defines and calls, and its constants under a name
program       the script, its local modules, what it is started with
json_file     each scalar of a JSON text, and where it stands
notebook      a notebook's code as Python; run_notebook runs one
paths         paths that Python code makes, as far as they can be told
outside       files beside the working directory, such as `../data`
literals      a value as Python text
places/       the kinds of places that a value can go to, and the one that a name means
substitution  values written into a program
diff          what changes, as `git apply` takes it
printed       what a program would print and log
library_metrics  what libraries report by themselves
proposal      ranges, and what is worth searching first
apply         values written into the user's own files
"""
