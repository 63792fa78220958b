"""The dashboard of `studio ui`: pages, and the API that `docs/api.md` describes.

http                 JSON in and out, files in pieces
access               who may ask
elapsed, columns     how long a search has worked; the columns of its table
experiment_table     all experiments of a project as columns, brought up to date
summary              what a project is doing
project_list         all projects, kept up to date
curves, logs, run_files   files of runs
experiment_details   all that is known of one experiment
open_projects        caches of the projects that are looked at
events               server-sent events
actions, tensorboard what buttons start
api                  handlers of /api
pages                handlers of HTML pages
app, server          routes; the port
fetch_charts         libraries of the charts, fetched by `make ui`
"""
