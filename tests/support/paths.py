"""Where things are in the repository, for tests that read them."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
