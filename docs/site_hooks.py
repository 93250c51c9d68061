"""Hooks of mkdocs: what the site has that docs/ has not. README.md is its home; docs/README.md is its navigation.

Links stay as they are in a checkout, relative to the file that has them. Those that lead out of docs/ come to a page of
the site where PAGES has one, and else to a copy of the file. A link to what is not there is a warning, as any other is.
"""

import logging
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
log = logging.getLogger("mkdocs.hooks.site")
# File of the repository -> page of the site. Files in docs/ have their own path below it.
PAGES = {
    "README.md": "index.md",
    "docs/README.md": "documents.md",
    "config.yaml": "config.yaml.md",
    "ARCHITECTURE.md": "architecture.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
    "tests/README.md": "tests.md",
    "bench/README.md": "bench.md",
    "examples/event_streaming/README.md": "example.md",
}
SOURCE_OF = {page: source for source, page in PAGES.items()}
LINK = re.compile(r"(\]\()([^)\s#:]+)((?:#[^)\s]*)?\))")
ROW = re.compile(r"^\| \[[^\]]*\]\(([^)#]+)\)", re.M)
ITEM = re.compile(r"(?:-|\d+\.) ")
# What a browser fetches by itself, from elsewhere.
FOREIGN = re.compile(
    r"""(?:<(?:script|img|iframe|source)\b[^>]*\bsrc|<link\b[^>]*\bhref|url\(|@import)[=\s"'(]*https?:"""
)


def source_of(page: str) -> str:
    return SOURCE_OF.get(page, f"docs/{page}")


def page_of(source: str) -> str:
    """Where a file of the repository is on the site: as a page, or as a copy."""
    if source in PAGES:
        return PAGES[source]
    return source.removeprefix("docs/") if source.startswith("docs/") else f"files/{source}"


def resolve(link: str, source: str) -> str:
    """A relative link in a file of the repository, as a path from its root. A folder's link means its README."""
    target = posixpath.normpath(posixpath.join(posixpath.dirname(source), link))
    return f"{target}/README.md" if (ROOT / target / "README.md").exists() else target


def text_of(source: str) -> str:
    text = (ROOT / source).read_text(encoding="utf-8")
    return text if source.endswith(".md") else f"# {source}\n\n```yaml\n{text}```\n"


def rows(source: str) -> dict[str, list[str]]:
    """The pages that a list of documents names in its tables, by heading."""
    parts = re.split(r"^## (.*)$", text_of(source), flags=re.M)
    sections = {"": parts[0]} | dict(zip(parts[1::2], parts[2::2], strict=True))
    return {title: [page_of(resolve(link, source)) for link in ROW.findall(body)] for title, body in sections.items()}


def navigation() -> list[Any]:
    """The sections of docs/README.md. A list of documents in it, as that of the API, is a section in the section."""
    found: list[Any] = ["index.md", "documents.md"]
    for title, pages in rows("docs/README.md").items():
        entries: list[Any] = []
        for page in pages:
            inner = [name for name in rows(f"docs/{page}").get("", []) if name.endswith(".md")] if "/" in page else []
            entries.append({"API": [page, *inner]} if inner else page)
            if page == "configuration.md":
                entries.append({"Every key": "config.yaml.md"})
        if title == "Operate" and (ROOT / "SECURITY.md").exists() and "security.md" not in entries:
            entries.append("security.md")
        if entries:
            found.append({title: entries})
    return found


def on_config(config: Any) -> Any:
    config.nav = navigation()
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add what stands outside of docs/: the pages of PAGES, and copies of the files that any page links to."""
    files.remove(files.src_uris["README.md"])
    for source, page in PAGES.items():
        if (ROOT / source).exists():
            files.append(File.generated(config, page, content=text_of(source)))
    for file in list(files.documentation_pages()):
        source = source_of(file.src_uri)
        for _, link, _ in LINK.findall(text_of(source) if source.endswith(".md") else ""):
            target = resolve(link, source)
            if (ROOT / target).is_file() and page_of(target) not in files.src_uris:
                files.append(File.generated(config, page_of(target), abs_src_path=str(ROOT / target)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    source = source_of(page.file.src_uri)

    def moved(found: re.Match[str]) -> str:
        target = resolve(found[2], source)
        if not (ROOT / target).is_file():
            return found[0]
        there = posixpath.relpath(page_of(target), posixpath.dirname(page.file.src_uri) or ".")
        return f"{found[1]}{there}{found[3]}"

    return with_empty_lines(LINK.sub(moved, markdown)) if source.endswith(".md") else markdown


def with_empty_lines(markdown: str) -> str:
    """As GitHub reads it: a list may stand right below a line of text. Python-Markdown wants an empty line between."""
    lines: list[str] = []
    fenced = False
    for line in markdown.split("\n"):
        before = lines[-1] if lines else ""
        if not fenced and ITEM.match(line) and before.strip() and not ITEM.match(before) and not before[0].isspace():
            lines.append("")
        fenced ^= line.startswith("```")
        lines.append(line)
    return "\n".join(lines)


def on_post_build(config: Any) -> None:
    """The site works without the internet, and tells nobody who reads it."""
    for path in Path(config.site_dir).rglob("*"):
        if path.suffix in {".html", ".css", ".svg"} and (found := FOREIGN.search(path.read_text(encoding="utf-8"))):
            log.warning("%s asks another server: %s", path.relative_to(config.site_dir), found[0])
