"""What the site adds to the pages of docs/: the root's documents, the notebook as a page, and links that fit both."""

import json
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PROJECT_PAGES = ("MODEL_CARD.md", "REPORT.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
NOTEBOOK = "tutorials/python-interface.ipynb"

_LINK = re.compile(r"\[(?P<text>[^\]]*)\]\((?P<target>[^)#\s]+)(?P<anchor>#[^)]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Add pages that are not Markdown files in docs/."""
    for name in PROJECT_PAGES:
        files.append(File.generated(config, f"project/{name}", abs_src_path=str(ROOT / name)))
    notebook = json.loads((ROOT / "docs" / NOTEBOOK).read_text(encoding="utf-8"))
    page = NOTEBOOK.replace(".ipynb", ".md")
    files.append(File.generated(config, page, content="\n\n".join(map(_cell, notebook["cells"]))))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Make links fit the site; in the files they fit GitHub. Links to what the site does not have become plain text."""
    uri = page.file.src_uri
    folder = "" if uri.startswith("project/") else posixpath.dirname(f"docs/{uri}")

    def fitting(link: re.Match[str]) -> str:
        if "://" in link["target"]:
            return link[0]
        path = posixpath.normpath(posixpath.join(folder, link["target"]))
        home = f"project/{path}" if path in PROJECT_PAGES else path.removeprefix("docs/").replace(".ipynb", ".md")
        if files.get_file_from_path(home) is None and (ROOT / path).exists():
            return link["text"]
        return f"[{link['text']}]({posixpath.relpath(home, posixpath.dirname(uri) or '.')}{link['anchor'] or ''})"

    return _LINK.sub(fitting, markdown)


def _cell(cell: dict[str, Any]) -> str:
    """Return a cell of a notebook as Markdown."""
    text = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        return text
    parts = [f"```python\n{text}\n```"]
    for output in cell["outputs"]:
        data = output.get("data", {})
        kind = next((kind for kind in ("image/jpeg", "image/png") if kind in data), None)
        if kind:
            parts.append(
                f'<img alt="The picture that this cell shows" src="data:{kind};base64,{"".join(data[kind]).strip()}">'
            )
        else:
            shown = "".join(output.get("text") or data["text/plain"])
            parts.append(f"```text\n{shown.rstrip()}\n```")
    return "\n\n".join(parts)
