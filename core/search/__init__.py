"""A search from its settings to a finished project.

search       `studio.Search`: ask and tell, numbered, recorded, replayed
program_journal  the project of a program's own search
ranges       texts and values to a Space
given        the options, checked without a look into the script
artifacts    --capture, --capture-once, --reuse
known        values known before the first suggestion
plan         everything that is checked before anything is written
learned      results of earlier searches
creation     a project made whole or not at all
driver       the loop, with attempts and control
failures     what a failure means, and when to give up
inspection   what a script offers to a search
confirm      the best experiments again, several times
observer     what a driver tells whoever watches
progress     a search as it goes on: live panel, notebook, plain lines
run          `studio.run`: a search from its settings to its end
resume       `studio.resume`: what may change, whose files count, moving elsewhere
steering     what a person may ask of a search
"""
