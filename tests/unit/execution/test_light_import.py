"""mlx-lm without transformers: fast, and invisible to the rest of the process."""

from __future__ import annotations

import subprocess
import sys


def _run(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], timeout=60, check=True)


def test_loading_parts_leaves_transformers_out() -> None:
    """Importing transformers would double the restart time of a rank."""
    _run(
        "import sys\n"
        "from daemon.execution.light_import import mlx_lm, model_imports\n"
        "assert mlx_lm().light\n"
        "with model_imports() as lm:\n"
        "    lm.utils._get_classes({'model_type': 'qwen3'})\n"
        "assert 'transformers' not in sys.modules\n"
        "assert not [name for name in sys.modules if name.startswith('mlx_lm')]\n"
    )


def test_a_plain_import_afterwards_gets_the_whole_package() -> None:
    """Other parts of a process must not meet our shortened package."""
    _run(
        "from daemon.execution.light_import import mlx_lm, model_imports\n"
        "assert mlx_lm().light\n"
        "import mlx_lm.generate, mlx_lm.models.cache\n"
        "plain = mlx_lm\n"
        "from mlx_lm import load, generate\n"
        "assert callable(load) and callable(generate) and plain.models.cache.KVCache\n"
        "with model_imports() as light:\n"
        "    light.utils._get_classes({'model_type': 'llama'})\n"
        "import sys; assert sys.modules['mlx_lm'] is plain\n"
    )


def test_a_plain_import_before_is_used_as_it_is() -> None:
    """Two copies of mlx-lm in one process would only cost memory."""
    _run(
        "import mlx_lm.utils as whole\n"
        "from daemon.execution.light_import import mlx_lm, model_imports\n"
        "assert not mlx_lm().light and mlx_lm().utils is whole\n"
        "with model_imports() as modules:\n"
        "    assert modules.utils is whole\n"
    )


def test_a_surprise_falls_back_to_the_plain_import() -> None:
    """A future mlx-lm may ask our stubs for more; then a rank starts slowly, but starts."""
    _run(
        "from daemon.execution import light_import\n"
        "light_import.STUBS = {'huggingface_hub': ()}\n"
        "modules = light_import.mlx_lm()\n"
        "assert not modules.light and modules.utils.load_model\n"
        "from mlx_lm import load\n"
    )


def test_other_threads_may_import_meanwhile() -> None:
    """A grammar's first use imports its library while the engine thread opens sequences."""
    _run(
        "import sys, threading, types\n"
        "from daemon.execution.light_import import mlx_lm, model_imports\n"
        "mlx_lm()\n"
        "sys.setswitchinterval(1e-6)\n"
        "over = threading.Event()\n"
        "def import_more():\n"
        "    number = 0\n"
        "    while not over.is_set():\n"
        "        number += 1\n"
        "        sys.modules[f'made_{number}'] = types.ModuleType('made')\n"
        "        if number > 100:\n"
        "            del sys.modules[f'made_{number - 100}']\n"
        "thread = threading.Thread(target=import_more)\n"
        "thread.start()\n"
        "try:\n"
        "    for _ in range(500):\n"
        "        with model_imports():\n"
        "            pass\n"
        "finally:\n"
        "    over.set()\n"
        "    thread.join()\n"
    )
