"""`plan`: show who would hold what and how fast it would be, before anybody loads it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from daemon.errors import SettingsError
from mlxconsole.commands.terminal_output import say
from mlxconsole.planning.devices_file import read_devices
from mlxconsole.planning.model_source import card_of
from mlxconsole.planning.plan import document, make_plan
from mlxconsole.planning.plan_table import table

if TYPE_CHECKING:
    import argparse

DEFAULT_CONTEXT = 4096


def plan(arguments: argparse.Namespace) -> int:
    """Print the plan; errors say what does not fit and what would."""
    machines = read_devices(arguments.devices)
    card = card_of(arguments.model)
    context = arguments.context
    if context is None:
        context = min(DEFAULT_CONTEXT, card.max_context)
    if not 0 < context <= card.max_context:
        raise SettingsError(
            f"--context {context}: from 1 to {card.max_context:,}, which is all this model takes"
        )
    if arguments.streams < 1:
        raise SettingsError(f"--streams {arguments.streams}: at least 1")
    made = make_plan(card, machines, context_tokens=context, streams=arguments.streams)
    say(json.dumps(document(made)) if arguments.json else "\n".join(table(made)))
    return 0
