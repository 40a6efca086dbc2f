# A sweep: `snakemake sweep --config sweep=NAME` computes what is missing or out of date of workflow/sweeps/NAME.yml, a job
# for each combination, and then writes build/sweeps/NAME.csv. An invalid combination stops it here, before any job.
sys.path.insert(0, str(HERE))
from sweep import load

from cellcount.errors import CellcountError

try:
    SWEEP = load(str(config["sweep"]))
except CellcountError as error:
    sys.exit(f"error: {error}")  # Snakemake's own report is silenced by profiles/default


def for_sweep(name, otherwise=0):
    return reserved(SWEEP.profile, SWEEP.source.stem, SWEEP.resources).get(name, otherwise)


localrules: sweep, table

rule sweep:
    input:
        expand(SWEEP.folder / "{run}.ipynb", run=SWEEP.runs),
        SWEEP.table,


rule table:
    input:
        expand(SWEEP.folder / "{run}" / "rows.csv", run=SWEEP.runs),
    output:
        SWEEP.table,
    shell:
        "{PYTHON} workflow/sweep.py {config[sweep]:q} > /dev/null"


rule combination:
    output:
        notebook=SWEEP.folder / "{run}.ipynb",
        rows=SWEEP.folder / "{run}" / "rows.csv",
    params:
        key=lambda wildcards: SWEEP.key(wildcards.run),
        arguments=lambda wildcards: SWEEP.arguments(wildcards.run),
    threads: for_sweep("threads", 1)
    resources:
        **{name: for_sweep(name) for name in RESOURCES},
    shell:
        "echo '           {wildcards.run} started' && "
        "{PYTHON} -m cellcount run {params.arguments} --out {output.notebook:q} --key {params.key} > /dev/null"
