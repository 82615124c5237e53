"""Sizes a cluster on paper: `mlxconsole plan`. Knows no process that runs."""
