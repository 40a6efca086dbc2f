"""Remove what differs between two equal runs of a notebook: committed notebooks change only with their content."""

import re
from collections.abc import Mapping
from typing import Any

import nbformat
from nbformat import NotebookNode

VOLATILE = {"papermill", "execution", "collapsed", "ExecuteTime", "scrolled", "trusted"}  # cell metadata
ADDED = {"papermill-error-cell-tag", "cellcount-modules"}  # tags of cells that are no part of a page
ADDRESS = re.compile(r"\bat 0x[0-9a-f]+")
KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}
LANGUAGE = {"name": "python", "file_extension": ".py", "mimetype": "text/x-python", "pygments_lexer": "ipython3"}


def clean(notebook: NotebookNode, about: Mapping[str, Any]) -> NotebookNode:
    """A copy (nbformat node) without times, random ids, kernel details, stderr and memory addresses.

    `about` (dict) becomes the notebook's metadata `cellcount`.
    """
    cells = []
    for cell in notebook.cells:
        if ADDED & set(cell.metadata.get("tags", [])):
            continue
        metadata = {key: value for key, value in cell.metadata.items() if key not in VOLATILE and value != []}
        fields = {"id": f"cell-{len(cells):02d}", "metadata": metadata}
        new = nbformat.v4.new_markdown_cell
        if cell.cell_type == "code":
            fields |= {"execution_count": cell.execution_count, "outputs": _outputs(cell.outputs)}
            new = nbformat.v4.new_code_cell
        cells.append(new(cell.source, **fields))
    metadata = {"kernelspec": KERNEL, "language_info": LANGUAGE, "cellcount": about}
    return nbformat.v4.new_notebook(cells=cells, metadata=metadata)


def _outputs(outputs):
    kept = []
    for output in outputs:
        if output.output_type == "stream" and output.name == "stderr":
            continue  # the runner prints it; progress bars and paths of this machine do not belong on a page
        if output.output_type == "stream" and kept and kept[-1].output_type == "stream":
            kept[-1]["text"] += output.text  # a stream is cut into pieces at random
            continue
        if "text/plain" in output.get("data", {}):
            output.data["text/plain"] = ADDRESS.sub("at 0x0", output.data["text/plain"])
        kept.append(output)
    return kept


def bare(notebook: NotebookNode) -> NotebookNode:
    """A copy (nbformat node) of code cells and of what they print: no text, pictures, and nothing of the machine."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for number, cell in enumerate(cells):
        cell.id = f"cell-{number:02d}"
        cell.metadata.pop("mystnb", None)
        for output in cell.outputs:
            for kind in [kind for kind in output.get("data", {}) if kind.startswith("image/")]:
                del output.data[kind]
    about = {key: value for key, value in notebook.metadata.cellcount.items() if key != "machine"}
    return nbformat.v4.new_notebook(cells=cells, metadata=notebook.metadata | {"cellcount": about})


def stderr_lines(notebook: NotebookNode) -> list[str]:
    """What the cells wrote to stderr: list of str, each line once."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    texts = [output.text for output in outputs if output.output_type == "stream" and output.name == "stderr"]
    return list(dict.fromkeys(line for text in texts for line in re.split(r"[\r\n]+", text) if line.strip()))


def failure(notebook: NotebookNode) -> str:
    """Which cell failed, and why (str); empty if none did."""
    for number, cell in enumerate(notebook.cells, 1):
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                first = next((line for line in cell.source.splitlines() if line.strip()), "")
                return f"cell {number} ({first!r}) failed with {output.ename}: {output.evalue}"
    return ""
