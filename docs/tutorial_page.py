"""A script of cells (``# %%``) as a page: text, code, and what the code prints."""

import contextlib
import io
import os
import re
from collections.abc import Iterator
from pathlib import Path


def cells(script: str) -> Iterator[tuple[bool, str]]:
    """Cells of a script: (whether it is text, contents)."""
    for part in re.split(r"^# %%", script, flags=re.MULTILINE)[1:]:
        head, _, body = part.partition("\n")
        text = head.strip() == "[markdown]"
        yield text, re.sub(r"^# ?", "", body, flags=re.MULTILINE).strip() if text else body.strip()


def tutorial(path: Path, folder: Path) -> str:
    """The page of a script, executed in ``folder``; an error of the script is raised."""
    names: dict[str, object] = {"__name__": "tutorial"}
    page, before = [], Path.cwd()
    os.chdir(folder)
    try:
        for text, body in cells(path.read_text(encoding="utf-8")):
            if text:
                page.append(body)
                continue
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(compile(body, str(path), "exec"), names)
            page.append(f"```python\n{body}\n```")
            if printed.getvalue():
                output = printed.getvalue().replace(f"{folder}/", "")
                page.append(f"```text\n{output.rstrip()}\n```")
    finally:
        os.chdir(before)
    return "\n\n".join(page) + "\n"
