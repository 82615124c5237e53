"""Measures links and collectives beside their peers: `python -m daemon.comm.bench`.

Not imported by the product.
"""
