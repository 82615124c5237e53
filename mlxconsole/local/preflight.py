"""What can be known to go wrong before any process starts: hosts, the model, a cluster that runs.

Ports are in `taken_ports`. Reads files; starts nothing. Any thread.
"""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from daemon.errors import ModelError, SettingsError, StartFailed
from daemon.execution import source
from daemon.settings_check import is_loopback

if TYPE_CHECKING:
    from collections.abc import Sequence

    from daemon.settings import Settings
    from mlxconsole.local.state_dir import StateDir

LAYER_KEYS = ("num_hidden_layers", "n_layers", "n_layer", "num_layers")


def ranks_to_start(state: StateDir, settings: Settings) -> list[int]:
    """All ranks, or those whose daemons are gone while others of the same cluster still run.

    Raises:
        StartFailed: all run already, or another cluster does; says what to do.
    """
    alive = sorted(rank for rank, mark in state.marks().items() if mark.find())
    wanted = [rank for rank in range(settings.world_size) if rank not in alive]
    if not alive:
        return wanted
    running = state.settings()
    if wanted and running == settings:
        return wanted
    gone = [rank for rank in range(running.world_size if running else 0) if rank not in alive]
    again = f"start {ranks_in_words(gone)} again with `{state.start_command}`, " if gone else ""
    raise StartFailed(
        f"a cluster already runs in {state} ({ranks_in_words(alive)}): {again}end it with "
        f"`mlxconsole down{state.flag}`, or give this one its own --state-dir and ports"
    )


def ranks_in_words(ranks: Sequence[int]) -> str:
    """Such as ``rank 0, 2``."""
    return f"rank {', '.join(str(rank) for rank in ranks)}"


def check_hosts(settings: Settings) -> None:
    """Refuse ranks of other machines, which `up` can't start.

    Raises:
        SettingsError: names the first such rank and the command that starts it there.
    """
    own = {
        address.address.split("%")[0]
        for addresses in psutil.net_if_addrs().values()
        for address in addresses
    } | {socket.gethostname(), "0.0.0.0", "::"}
    for rank, part in enumerate(settings.ranks):
        if not is_loopback(part.host) and part.host not in own:
            raise SettingsError(
                f"rank {rank} belongs on {part.host}, and `up` starts ranks on this machine only: "
                f"run `mlx-daemon --rank {rank} --config cluster.toml` there"
            )


def check_model(model: str, ranks: int) -> None:
    """Refuse what can be seen to be no model, or too few layers; the workers look closer.

    Raises:
        ModelError: says what is wrong with it.
    """
    if may_be_hub_id(model):
        return
    layers = layer_count(source.model_path(model))
    if layers is not None and ranks > layers:
        raise ModelError(
            f"model {model!r} has {layers} layers, too few for {ranks} ranks: "
            f"use --ranks {layers} or fewer"
        )


def may_be_hub_id(model: str) -> bool:
    """Whether ``model`` is no folder here, but could be a repository of the hub."""
    looks_like = source.HUB_ID.fullmatch(model) and not model.startswith((".", "~"))
    return bool(looks_like) and not Path(model).expanduser().exists()


def layer_count(folder: Path) -> int | None:
    """Layers that a model's config.json names, in the usual places; None if it doesn't.

    Raises:
        ModelError: the file is damaged.
    """
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"can't read {path}: {error}: is the model complete?") from error
    if not isinstance(config, dict):
        raise ModelError(f"{path} holds no table of settings: is the model complete?")
    places = [config, config.get("text_config")]
    counts = [place.get(key) for place in places if isinstance(place, dict) for key in LAYER_KEYS]
    return next((count for count in counts if isinstance(count, int)), None)
