"""`python -m studio`: the command, by the interpreter that has it."""

from studio.cli import main

main()
