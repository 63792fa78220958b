"""Built-in search strategies: grid, random_search, sobol, tpe, cma_es, the folder gp, and auto, which chooses."""
