"""What travels on a child's command line comes back as it was."""

from __future__ import annotations

import pytest

from daemon.errors import SettingsError
from daemon.settings import Settings, local_ranks
from daemon.settings_check import check
from daemon.supervision.child_spec import ChildSpec


def test_a_spec_survives_its_own_json() -> None:
    """A child must see exactly the settings that its supervisor checked."""
    settings = check(Settings(ranks=local_ranks(2, 40000, 41000)))
    spec = ChildSpec(1, 3, "boot", settings, 5, 6, "DEBUG")
    assert ChildSpec.from_json(spec.to_json()) == spec
    assert "\n" not in spec.to_json()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"settings": {}, "rank": 0}', "null"])
def test_a_hand_written_spec_is_refused_in_one_line(text: str) -> None:
    """Somebody will start daemon.worker by hand: say what to start instead."""
    with pytest.raises(SettingsError, match="start mlx-daemon instead") as error:
        ChildSpec.from_json(text)
    assert "\n" not in str(error.value)
