"""The recipes of containers: both hold the same files, which are there, and install them as the Makefile does."""

import re
import subprocess
import tomllib

from cellcount.companion.runner.sources import root

ROOT = root()
DOCKER, APPTAINER = ((ROOT / name).read_text() for name in ("Dockerfile", "apptainer.def"))


def section(name):
    return re.search(rf"^%{name}\n((?:    .*\n)+)", APPTAINER, re.MULTILINE)[1]


def test_both_recipes_take_the_files_that_an_installation_needs():
    copied = {name for line in re.findall(r"^COPY (.+) \S+$", DOCKER, re.MULTILINE) for name in line.split()}
    assert copied == set(re.findall(r"(\S+) /opt/cellcount/\n", section("files")))
    assert copied == set(re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE))
    listed = ["git", "-C", ROOT, "ls-files", "--", *sorted(copied)]
    tracked = subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split("\n")
    assert copied == {name.partition("/")[0] for name in tracked if name}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    needed = {project["project"]["readme"], *project["project"]["license-files"]}
    prerequisites = re.search(r"^\$\(STAMP\): (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1].split()
    assert copied == needed | set(prerequisites) | {"Makefile", "cellcount"}


def test_both_recipes_install_in_the_same_way_for_the_python_that_is_pinned():
    image = re.search(r"^FROM (\S+)$", DOCKER, re.MULTILINE)[1]
    assert image == re.search(r"^From: (\S+)$", APPTAINER, re.MULTILINE)[1]
    version = re.match(r"python:(\d+\.\d+)\.\d+-slim-\w+$", image)[1]
    assert f"with Python {version}." in (ROOT / "constraints.txt").read_text()
    assert f"PYTHON3 ?= python{version}" in (ROOT / "Makefile").read_text()
    for command in ("apt-get install -y -qq --no-install-recommends git make", "PIP_NO_CACHE_DIR=1 make env"):
        assert command in DOCKER and command in section("post")
    assert (
        "/opt/cellcount/.venv/bin:$PATH" in section("environment") and "PATH=/opt/cellcount/.venv/bin:$PATH" in DOCKER
    )


def test_both_recipes_start_the_command_and_docker_not_as_root():
    assert DOCKER.endswith('ENTRYPOINT ["cellcount"]\n') and 'exec cellcount "$@"' in section("runscript")
    assert re.findall(r"^USER (.+)$", DOCKER, re.MULTILINE)[-1] != "root"
    title = {re.search(r'image\.title[ =]"?(\w+)', text)[1] for text in (DOCKER, APPTAINER)}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert title == {"cellcount"} and all(project["license"] in text for text in (DOCKER, APPTAINER))
