"""Transfer of runs to workers through a bucket: a folder, S3 or Google Cloud Storage.

A run is submitted as a job; one worker at a time holds the job's lease, and renews it while it works; the first outcome
that is written counts.

    bucket, folder_bucket, s3_bucket, gcs_bucket   values with conditional writes, and files
    pipe_bucket   the driver's bucket, at the end of a connection
    bucket_url    opening of a bucket by its URL
    lease_records, leases, lease_taker             the worker's end of the protocol, drawn in leases
    job_queue     the driver's end: submit, watch, cancel, collect
    archives, shipping   transfer of a run and its files
    results       reports and outcomes on their way home
    background    daemon threads
    launcher, pool, failed_starts   engines that start workers, and how many of them a search needs, and where
    backend, folder_backend, leaving               the driver's backend, and moving a search elsewhere
    worker, command                                `studio worker`
"""
