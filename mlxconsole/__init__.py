"""The operator's side: start and stop a cluster, and watch it from a terminal."""
