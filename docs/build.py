"""``python docs/build.py``: the documentation as HTML, in build/docs/html; warnings are errors.

Guides are the files of this folder. The tutorial is executed, and references are made from what is declared: registers,
configuration, command line, docstrings.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from pages import pages
from tutorial_page import tutorial

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
TARGET = ROOT / "build" / "docs"


def main() -> int:
    """Put the sources together and call Sphinx; returns its exit status."""
    source, html = TARGET / "source", TARGET / "html"
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir(parents=True)
    for path in sorted(HERE.iterdir()):
        if path.suffix in (".md", ".svg", ".png") or path.name == "conf.py":
            shutil.copy(path, source)
    (source / "tutorial.md").write_text(tutorial(HERE / "tutorial.py", ROOT), encoding="utf-8")
    for name, text in pages(ROOT).items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", str(source), str(html)]
    status = subprocess.run(command, cwd=ROOT, check=False).returncode
    if status == 0:
        print(html / "index.html")
    return status


if __name__ == "__main__":
    sys.exit(main())
