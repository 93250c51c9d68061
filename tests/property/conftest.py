"""Property tests only compute: how long they take says how busy the machine is, and nothing of what they test."""

from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
TIMEOUT_S = 900


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if FOLDER in item.path.parents and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TIMEOUT_S))
