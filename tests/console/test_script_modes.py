"""`check` and `--watch` against a real supervisor: exit codes and a stream that ends in order."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from mlxconsole import cli
from mlxconsole.recording.reading import opened
from mlxconsole.source.base import FrameArrived
from tests.unit.supervision.harness import Daemon, make_settings

pytestmark = pytest.mark.integration

LIMIT_S = 30.0


async def test_scripts_can_wait_for_and_follow_a_cluster(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What CI and cron want."""
    settings = make_settings(1)
    async with Daemon(tmp_path, settings, rank=0, worker="obey") as daemon:
        await daemon.until_ready()
        connect = ("--connect", f"127.0.0.1:{settings.ranks[0].control_port}")

        async def check(expression: str) -> int:
            return await asyncio.to_thread(cli.main, ["check", expression, *connect])

        assert await check("ready == 1 and restarts < 3") == 0
        assert await check("ready == 2") == 1
        assert "does not hold: ranks=1" in capsys.readouterr().err
        assert await check("import os") == 2
        assert "no expression" in capsys.readouterr().err

        # What the rank still knows, without a console that has been there.
        folder = ["--folder", str(tmp_path), *connect]
        assert await asyncio.to_thread(cli.main, ["capsule", "--minutes", "5", *folder]) == 0
        path = Path(capsys.readouterr().out.partition(": ")[0])
        assert path.parent == tmp_path
        with opened(path) as recording:
            frames = [u.frame for u in recording.updates if isinstance(u, FrameArrived)]
        assert frames[0].events[0].kind == "start"
        assert len(frames) > 2, "rates want more than one"

        command = [sys.executable, "-m", "mlxconsole", "--watch", *connect]
        reader = await asyncio.create_subprocess_exec(
            *command, "--json", stdout=asyncio.subprocess.PIPE
        )
        assert reader.stdout is not None
        async with asyncio.timeout(LIMIT_S):
            documents = [json.loads(await reader.stdout.readline()) for _ in range(2)]
            assert [d["ranks"][0]["state"] for d in documents] == ["READY"] * 2
            assert documents[0]["time_s"] < documents[1]["time_s"]
            reader.terminate()
            await reader.wait()

            # `| head -1`: the reader leaves first.
            shell = await asyncio.create_subprocess_shell(
                " ".join([*command, "--json", "| head -1"]),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            out, err = await shell.communicate()
            assert json.loads(out)["schema"] == 1
            assert err == b""

            told = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
            assert told.stdout is not None
            first = [await told.stdout.readline() for _ in range(2)]
            assert b"is READY" in first[1]
            await daemon.client.shutdown()
            while b"does not answer" not in await told.stdout.readline():
                pass
            told.terminate()
            await told.wait()
