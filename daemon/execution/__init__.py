"""Runs the layers of one rank: the only package that knows MLX models.

It does not know the network. Everything here is called on the one engine thread.
"""
