"""The supervisor of a rank: keeps its children alive, tells what they do, obeys its operators.

Never imports mlx: it must answer while a worker is loading, hung or dead.
"""
