"""Checks the subjects of commits: `area: main effect`, 72 characters at most, no full stop at the end.

Only those since this check came: older ones were written under another rule, and a commit is not rewritten.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SUBJECT_MAX = 72
FORM = re.compile(r"[a-z][a-z0-9_.,/ -]*: \S.*[^.]")


def problem(subject: str) -> str | None:
    """What is wrong with a subject."""
    if len(subject) > SUBJECT_MAX:
        return f"{len(subject)} characters are more than {SUBJECT_MAX}"
    if not FORM.fullmatch(subject):
        return "is not `area: main effect` without a full stop"
    return None


def git(*words: str) -> list[str]:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"git {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout.splitlines()


def commits() -> list[tuple[str, str]]:
    """Short hash and subject of each commit since this file was added, without merges."""
    added = git("log", "--diff-filter=A", "--format=%H %ct", "--", str(Path(__file__).resolve().relative_to(ROOT)))
    if not added:
        return []
    since, date_s = added[-1].split()
    # By date as well: what was written on another branch before the check came is no descendant of it.
    rows = git("log", "--no-merges", f"--since={date_s}", "--format=%h %s", f"{since}..HEAD")
    return [(row.split(" ", 1)[0], row.split(" ", 1)[1]) for row in rows]


def main() -> None:
    found = commits()
    wrong = [f"{name} {subject}\n  {said}" for name, subject in found if (said := problem(subject))]
    if wrong:
        sys.exit("\n".join(wrong))
    print(f"{len(found)} commit subjects checked")


if __name__ == "__main__":
    main()
