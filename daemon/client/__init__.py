"""Ways to reach a cluster: `control` to its supervisors, `engine` to rank 0's worker.

Used by console, commands and API process; both speak gRPC and raise the errors of `daemon.errors`.
"""
