"""Measures the console on a terminal of its own: what it costs, and how fast it answers keys.

`python -m mlxconsole.console_bench` prints a table; `measure` gives the figures of one contestant.
"""

from mlxconsole.console_bench.run import CASES, CONTESTANTS, GOALS, Case, Figures, measure

__all__ = ["CASES", "CONTESTANTS", "GOALS", "Case", "Figures", "measure"]
