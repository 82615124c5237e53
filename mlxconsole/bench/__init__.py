"""`mlxconsole bench`: measures a cluster beside its peers and limits, on any machine.

One file per suite; `suites.py` lists them. Never imports MLX: what needs it runs in a process of
its own.
"""
