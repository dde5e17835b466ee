"""Change the repository's address wherever it stands: `make address REPOSITORY=https://...`.

It is told by XrayCTRegistration.json, as the Extensions Index wants it; CMake, the module and the documents repeat it.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ENTRY = ROOT / "XrayCTRegistration.json"
REPEATED = ("CMakeLists.txt", "README.md", "CITATION.cff", "pyproject.toml", "XrayCTRegistration/XrayCTRegistration.py")


def address() -> str:
    """The repository's page."""
    return json.loads(ENTRY.read_text(encoding="utf-8"))["scm_url"].removesuffix(".git")


def raw(page: str) -> str:
    """Where the files of a repository on GitHub are served from."""
    return page.replace("https://github.com/", "https://raw.githubusercontent.com/")


def main() -> None:
    before, after = address(), sys.argv[1].rstrip("/").removesuffix(".git")
    if not re.fullmatch(r"https://github\.com/[\w.-]+/[\w.-]+", after):
        sys.exit(f"{after}: this is no repository on GitHub, as https://github.com/name/repository.")
    for path in (ENTRY, *(ROOT / name for name in REPEATED)):
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace(before, after).replace(raw(before), raw(after)), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
