"""Machines that are ordered for a search: a queue whose workers run on them.

cloud           the interface of a cloud, and its errors
machine_types   the machine types that meet requirements; which is closest
prices          prices kept for a day
spending        dollars: parsed, spent, quoted
ledger          machines.json, written before each order
plan            options and offers: how many of which machine
launcher        orders and their results; which machines are alive; their ends
packages, startup          what machines install and run first
machines_backend           the backend: prices and checks before a search, and the search
setup, command             setting up an account; `studio cloud`
"""
