"""The files of a search: record, snapshots, requests.

paths        STUDIO_HOME, names, folders, keys
lock         one driver at a time
formats      tables of the database, and migration from earlier formats
store        writing the journal
records      reading the journal, its experiments, attempts and sessions
summary      a project in one line
project      `studio.Project`
source       which of the user's files are copied
changes      what has changed in them since
environment  interpreter, packages, commit and machine, for the reader
inbox        requests to the driver, one file each
table        all experiments as rows: CSV, JSON, DataFrame, notebook
backup       a second copy of the record, and the way back from it
doctor       problems, and how to fix them
"""
