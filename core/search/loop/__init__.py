"""The loop of a search.

driver           fills free slots, records outcomes, ends the search
attempts         attempts of experiments, and automatic retries
give_up          when a search that fails gives up
handle_requests  requests of a person, carried out
"""
