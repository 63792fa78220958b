"""Ask and tell, with a journal that is replayed when a search is resumed.

search           `studio.Search`: suggestions and results, numbered, recorded, replayed
pruning          which runs are stopped early, and what they would have reached
program_journal  the project of a program's own search
"""
