"""Clusters on this machine: their state folder, their processes, their start and their end."""
