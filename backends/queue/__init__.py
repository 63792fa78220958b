"""Runs reach workers through a bucket: a folder, S3 or Google Cloud Storage.

A run goes there as a job; one worker at a time holds the job's lease, and renews it while it works; the first outcome that
is written counts.

    bucket, folder_bucket, s3_bucket, gcs_bucket   values written under a condition, and files
    pipe_bucket   the driver's bucket, at the end of a connection
    bucket_url    a URL as one of them
    lease_records, leases, lease_taker             the worker's end of the protocol, drawn in leases
    job_queue     the driver's end: submit, look, cancel, collect
    archives, shipping   a run and its files on their way
    reports, outcomes    what comes back
    background    daemon threads
    launcher, pool   engines that start workers, and as many of them as a search needs
    backend, folder_backend, leaving               the driver's backend, and a search that moves
    work_folder, worker, command                   `studio worker`
"""
