"""What does the tasks of a sweep: processes of this machine, or a Dask cluster."""
