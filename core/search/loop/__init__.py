"""The loop of a search.

driver           fills free slots, records outcomes, ends the search
attempts         attempts of experiments, and automatic retries
stop_rules       when a search ends early: target, patience, number of failures
give_up          when a search that fails gives up
handle_requests  requests of a person, carried out
"""
