"""Amazon EC2: backend, account, types, prices, requests, errors, cloud, startup, setup."""
