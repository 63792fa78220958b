"""A search from its settings to a finished project, in the order of its life.

run             `studio.run`: a search from its settings to its end
plan            what is checked before anything is written or started
create_project  a project made whole or not at all
loop            the driver of a search, and what it decides
ask_tell        `studio.Search`: suggestions and results, recorded and replayed
resume          `studio.resume`: what may change, whose files count, moving elsewhere
confirm         the best experiments again, several times

search_space    the user's ranges to a Space
send_requests   requests of a person to a search: stop, pause, retry, more budget, values by hand
observer        what a driver reports to its display
display         a search as it goes on: live panel, notebook, plain lines
inspection      what a script offers to a search
"""
