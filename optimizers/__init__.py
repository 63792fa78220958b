"""Built-in search strategies, one file each: grid, random_search, cma_es."""
