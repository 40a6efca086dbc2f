"""Sweeps: a chapter with each combination of parameters, data sets and seeds, each a job of Snakemake.

python workflow/sweep.py SWEEP   # the last job: puts the rows of all combinations into one table
"""

import hashlib
import itertools
import json
import re
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cellcount.companion.runner.sources import code_cells, dataset, defaults, find, overrides, read, root, slug
from cellcount.companion.runner.staleness import run_key
from cellcount.errors import CellcountError, DataError, require

KEYS = ("chapter", "profile", "data", "seeds", "parameters", "resources")


@dataclass(frozen=True)
class Sweep:
    """What a file in workflow/sweeps asks for; `runs` maps the name of a run to its data set and parameters.

    `folder` holds the runs, and `table` will hold their rows; both are relative to the folder of the book.
    """

    source: Path
    profile: str
    folder: Path
    table: Path
    runs: dict[str, tuple[str, dict[str, Any]]]
    resources: dict[str, Any]

    def key(self, name: str) -> str:
        """Changes when a run must be computed again."""
        data, parameters = self.runs[name]
        given = {"data": data, "profile": self.profile, "parameters": parameters}
        return run_key(self.source, root() / self.folder / f"{name}.ipynb", **given)

    def arguments(self, name: str) -> str:
        """The arguments of `cellcount run` for a run."""
        data, parameters = self.runs[name]
        given = [part for key, value in parameters.items() for part in ("-p", key, _text(value))]
        return shlex.join([self.source.stem, "--data", data, "--profile", self.profile, *given])


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


class _Loader(yaml.SafeLoader):
    """YAML in which a key stands once, and a number is decimal: the library takes the last of two, and 8 for 010."""

    def number(self, node):
        number, line = self.construct_yaml_int(node), node.start_mark.line + 1
        told = f"line {line}: {node.value} would be read as {number}. Write that."
        require(node.value.lstrip("+") == str(number), told, DataError)
        return number

    def construct_mapping(self, node, deep=False):
        keys = [key.value for key, _ in node.value]
        twice = sorted({str(key) for key in keys if keys.count(key) > 1})
        require(not twice, f"line {node.start_mark.line + 1}: {', '.join(twice)} stands twice.", DataError)
        return super().construct_mapping(node, deep)


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.number)


def _named(combination: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {_text(value)}" for key, value in combination.items())


def _cell(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, (list, dict)) else value


def load(name: str) -> Sweep:
    """The sweep (Sweep) of workflow/sweeps/NAME.yml or of a file *.yml.

    Raises
    ------
    ParameterError, DataError
        If the file does not describe a sweep, or a combination is invalid, which is then named.
    """
    path = Path(name) if name.endswith(".yml") else Path(__file__).with_name("sweeps") / f"{name}.yml"
    known = ", ".join(sorted(file.stem for file in Path(__file__).with_name("sweeps").glob("*.yml")))
    plain = re.fullmatch(r"\w[\w-]*", path.stem)
    require(plain, f"{path}: name the file of letters, digits, - and _, since its table will have the name.")
    require(path.is_file(), f"There is no sweep {path}. Sweeps: {known}; or name a file *.yml.")
    try:
        content = _Loader(path.read_text("utf-8")).get_single_data()
    except (yaml.YAMLError, UnicodeDecodeError, DataError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    named = isinstance(content, Mapping) and isinstance(content.get("chapter"), str)
    require(named, f"{path}: a sweep names a `chapter:`, as text.")
    unknown = ", ".join(sorted({*map(str, content)} - set(KEYS)))
    require(not unknown, f"{path}: a sweep has no {unknown}. It has: {', '.join(KEYS)}.")
    for key in ("parameters", "resources"):
        require(isinstance(content.get(key) or {}, Mapping), f"{path}: `{key}:` has a line `NAME: ...` for each name.")
    source, profile = find(content["chapter"]), content.get("profile", "laptop")
    tells = any("rows.csv" in cell.source for cell in code_cells(read(source)))
    require(
        tells, f"{path}: {source.stem} writes no rows.csv, of which a sweep makes its table. Choose another chapter."
    )
    axes = {"data": content.get("data", ["phantom"]), "seed": content.get("seeds", [0])}
    for key, values in (content.get("parameters") or {}).items():
        require(key not in ("seed", "dataset"), f"{path}: {key} is not a parameter of a sweep: use `seeds:`, `data:`.")
        axes[key] = values
    for key, values in axes.items():
        several = isinstance(values, list) and values and len({_text(value) for value in values}) == len(values)
        require(several, f"{path}: {key} must be a list of different values, got {values!r}.")
        option = next((value for value in map(_text, values) if value.startswith("--")), None)
        require(option is None, f"{path}: {key} {option} would be taken for an option of `cellcount run`.")
    parameters_of = defaults(read(source), source.stem)
    runs, values_of = {}, {}
    for values in itertools.product(*axes.values()):
        combination = dict(zip(axes, values, strict=True))
        try:
            data = dataset(combination["data"])[0]
            parameters = {key: value for key, value in combination.items() if key != "data"}
            read_as = overrides(source, parameters_of, parameters=dict(parameters), data=data, profile=profile)
            first = values_of.setdefault(json.dumps([data, read_as], default=str, sort_keys=True), combination)
            require(first is combination, f"It is the same as that of {_named(first)}.")
        except CellcountError as error:
            raise type(error)(f"{path}: the combination {_named(combination)} is invalid. {error}") from error
        digest = hashlib.sha256(json.dumps([source.stem, data, profile, parameters]).encode()).hexdigest()
        name = f"{slug(data)}-seed{combination['seed']}-{digest[:8]}"
        runs[name] = data, parameters
    folder = Path("build", "sweeps", path.stem)
    return Sweep(source, profile, folder, Path(f"{folder}.csv"), runs, content.get("resources") or {})


def gather(sweep: Sweep) -> Path:
    """Write the rows of all runs into the table of a sweep: its Path.

    Columns `swept_data`, `swept_seed` and `swept_NAME` for each parameter stand before those of the rows.
    """
    import pandas as pd

    from cellcount import results

    frames = []
    for name, (data, parameters) in sweep.runs.items():
        frame = results.table(root() / sweep.folder / name / "rows.csv")
        swept = {f"swept_{key}": _cell(value) for key, value in {"data": data, **parameters}.items()}
        frames.append(frame.assign(**swept)[[*swept, *frame]])
    return results.write(pd.concat(frames, ignore_index=True), root() / sweep.table)


if __name__ == "__main__":
    try:
        print(gather(load(sys.argv[1])))
    except CellcountError as error:
        sys.exit(f"error: {error}")
