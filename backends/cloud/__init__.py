"""Machines that are ordered for a search: a queue whose workers run on them.

cloud           the interface of a cloud, and its errors
machine_types   the machine types that meet requirements; which is closest
prices          prices kept for a day
spending, quote dollars: parsed and spent; printed
ledger          machines.json, written before each order
plan            options and offers: how many of which machine
ordering, fleet one order and its result; as many machines as are needed, none left
built_wheel, requirements, startup   what machines install and run first
before_search, machines_backend      checks and prices before a search; the backend itself
setup, command             setting up an account; `studio cloud`
"""
