"""A search on disk.

paths        STUDIO_HOME, names, folders, keys
lock         one driver at a time
formats      its tables, and the way from earlier formats
store        the journal, written
records      the journal, read
summary      a project in a line
project      `studio.Project`
source       the user's files: which are copied
changes      what has changed in them since
environment  interpreter, packages, commit, machine, for people
inbox        requests to the driver, one file each
costs        what machines cost
table        all experiments as rows
exports      the rows as CSV, JSON
backup       a second copy of the record, and the way back from it
doctor       what is wrong, and how to fix it
"""
