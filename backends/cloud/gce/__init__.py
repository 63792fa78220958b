"""Google Compute Engine: backend, account, types, prices, requests, errors, cloud, startup, setup."""
