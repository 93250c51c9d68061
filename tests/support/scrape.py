"""What a daemon's HTTP endpoint says, in a form that tests can ask. An address in, figures and JSON out."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

Labels = frozenset[tuple[str, str]]


class Figures:
    """The samples of one scrape."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.samples: dict[tuple[str, Labels], float] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                key = (sample.name, frozenset(sample.labels.items()))
                assert key not in self.samples, f"{key} stands twice"
                self.samples[key] = sample.value

    def value(self, name: str, **labels: str) -> float:
        return self.samples[name, frozenset(labels.items())]

    def rows(self, name: str) -> Iterator[tuple[dict[str, str], float]]:
        return ((dict(labels), value) for (other, labels), value in self.samples.items() if other == name)

    def total(self, name: str) -> float:
        return sum(value for _, value in self.rows(name))


class Endpoint:
    """`async with Endpoint(address) as endpoint`: HOST:PORT or the path of a socket."""

    def __init__(self, address: str) -> None:
        self.address = address

    async def __aenter__(self) -> "Endpoint":
        unix = self.address.startswith("/")
        connector = aiohttp.UnixConnector(self.address) if unix else aiohttp.TCPConnector()
        base = "http://ingestd" if unix else f"http://{self.address}"
        self.session = aiohttp.ClientSession(base, connector=connector, timeout=aiohttp.ClientTimeout(20))
        return self

    async def __aexit__(self, *about: object) -> None:
        await self.session.close()

    async def get(self, path: str, **headers: str) -> tuple[int, str]:
        async with self.session.get(path, headers=headers) as response:
            return response.status, await response.text()

    async def json(self, path: str) -> Any:
        async with self.session.get(path) as response:
            return await response.json()

    async def figures(self) -> Figures:
        status, text = await self.get("/metrics")
        assert status == 200
        return Figures(text)


def promtool(*words: str, text: str | None = None) -> None:
    """Fails with what promtool finds; where it is not the test is skipped by name, or fails when all lanes must run."""
    found = shutil.which("promtool")
    if found is None:
        give_up = pytest.fail if os.environ.get("INGESTD_REQUIRE_ALL") == "1" else pytest.skip
        give_up("promtool is not there: apt-get install prometheus")
    done = subprocess.run([found, *words], input=text, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
