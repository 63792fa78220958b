"""Places where the value of a hyperparameter can go: one interface, one small file for each kind.

    program --kinds--> Place ...      --hp=NAME=… --choose--> the Place of that name, or an error with the candidates

place            the common interface: a name, a line of text, and how a value is put there
brackets         `{lr}` in an argument
options          options that the script defines; command_parsers and typed_parsers for the libraries
positionals      arguments by their position
given            numbers and words that stand in the command of any program
hydra            overrides of a Hydra configuration
variables        variables that are read
constants        keywords of calls, dict keys, attributes, fields, defaults
config_files     YAML, JSON, TOML, INI: scalars from yaml_file, toml_file, ini_file, and json_file one level up
words            assignments in shell, R, Julia and Make files
environment      `os.environ["LR"]`
giving           how a value enters the command line
finding          all places of a program, in search order; the place that a name refers to

To add a kind, write a file with a function that yields `Place`s, and add a line to `KINDS` in `finding`.
"""

from studio.script.places.finding import Places
from studio.script.places.place import Draft, Edit, Place, apply_edits

__all__ = ["Draft", "Edit", "Place", "Places", "apply_edits"]
