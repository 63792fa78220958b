"""The dashboard of `studio ui`: pages, and the API that `docs/api.md` describes.

http                 JSON in and out, files in pieces
access               access control
elapsed, columns     working time of a search; the columns of its table
experiment_table     all experiments of a project as columns, kept up to date
first_rows           the rows of that table that the server renders
summary              summary of a project
project_list         all projects, kept up to date
curves, logs, run_files   files of runs
experiment_details   details of one experiment
open_projects        caches of open projects
events               server-sent events
actions, tensorboard actions of the buttons
api                  handlers of /api
pages                handlers of HTML pages
app, server          routes; the port
fetch_charts         libraries of the charts, fetched by `make ui`
"""
