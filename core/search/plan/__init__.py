"""Checks of a search before anything is written or started.

early_check      the options, checked without a look into the script
artifacts        --capture, --capture-once, --reuse
baseline         the script's own values, with which a search begins
plan             the plan of a search, checked against the script
earlier_results  --learn-from: results of earlier searches
"""
