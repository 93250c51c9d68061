"""Makes the pictures of the documents: `ingestd top` and `ingestd events trace` as SVG, from a run of the example.

python -m tests.support.pictures
"""

import io
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from rich.console import Console
from rich.text import Text

from tests.support.paths import ROOT

FOLDER = ROOT / "docs" / "pictures"
TOP_COLUMNS, TRACE_COLUMNS = 116, 100
# As many shops as keep a small machine busy without holding it back.
SHOPS = 4
FONTS = "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace"


@contextmanager
def busy_shops(config: object) -> Iterator[None]:
    """Orders as fast as they are served, until the block ends."""
    from shop import Shop  # type: ignore[import-not-found]

    ended = threading.Event()

    def take_orders(shop: Shop) -> None:
        for number in count(1000):
            if ended.is_set():
                return
            shop.place_order(number)

    shops = [Shop(config) for _ in range(SHOPS)]
    threads = [threading.Thread(target=take_orders, args=(shop,)) for shop in shops]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()
        for shop in shops:
            shop.close()


def capture(config_path: Path, columns: int, *words: str) -> str:
    """What the command writes to a terminal. Of several frames in one place, the last."""
    environment = os.environ | {"INGESTD_CONFIG": str(config_path), "FORCE_COLOR": "1", "COLUMNS": str(columns)}
    done = subprocess.run(
        [sys.executable, "-m", "ingestd", *words], env=environment, capture_output=True, text=True, check=True
    )
    frames = re.split(r"(?:\r?\x1b\[(?:2K|1A|\?25[lh]))+", done.stdout)
    return [frame for frame in frames if frame.strip()][-1].rstrip()


def picture(title: str, shown: str, name: str, columns: int) -> str:
    """SVG of a terminal. It asks no other server for a font, as rich's own template does."""
    console = Console(record=True, width=columns, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(Text.from_ansi(shown), soft_wrap=True)
    svg = console.export_svg(title=title, unique_id=name)
    svg = re.sub(r"\s*@font-face \{.*?\}\n", "\n", svg, flags=re.S)
    svg = re.sub(r"font-family: ?(Fira Code|arial)[^;]*;", f"font-family: {FONTS};", svg)
    return re.sub(r"[ \t]+$", "", svg, flags=re.M)


def main() -> None:
    sys.path.insert(0, str(ROOT / "examples" / "event_streaming"))
    from shop import Shop  # type: ignore[import-not-found]
    from stack import running_stack  # type: ignore[import-not-found]

    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="ingestd-") as folder, running_stack(Path(folder)) as stack:
        shop = Shop(stack.config)
        order = [shop.place_order(number) for number in range(5)][-1]
        shop.close()
        with busy_shops(stack.config):
            top = capture(stack.config_path, TOP_COLUMNS, "top", "--interval", "5", "--times", "1")
        words = ("events", "trace", order.trace_id)
        trace = capture(stack.config_path, TRACE_COLUMNS, *words)
    (FOLDER / "top.svg").write_text(picture("ingestd top", top, "top", TOP_COLUMNS))
    (FOLDER / "trace.svg").write_text(picture(f"ingestd {' '.join(words)}", trace, "trace", TRACE_COLUMNS))


if __name__ == "__main__":
    main()
