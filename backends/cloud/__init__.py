"""Machines that are ordered for a search: a queue whose workers run on them.

cloud           what Studio asks of a cloud, and its errors
machine_types   which type is enough; what comes closest
prices          prices kept for a day
spending, quote dollars: typed and spent; said
ledger          machines.json, written before each order
plan            options and offers: how many of which machine
ordering, fleet one order and its answer; as many machines as are needed, none left
built_wheel, requirements, startup   what machines install and run first
before_search, machines_backend      what is said before a search; the backend itself
setup, command             an account set up; `studio cloud`
"""
