"""Breaks a cluster on purpose, under load, and checks every answer against the undisturbed one.

Starts a cluster of its own on free ports; never touches one that serves somebody.
"""
