"""The claims ledger: complete, decided by its rules, and in step with the book and the command line."""

import json
import re
import runpy
import shlex

import pytest

from cellcount.cli import main
from cellcount.companion import plots
from cellcount.companion.runner.sources import chapters, root
from cellcount.companion.studies import claims
from cellcount.errors import DataError

LEDGER = claims.load()


def test_every_claim_has_a_number_and_a_command_or_a_reason():
    assert len(LEDGER) >= 25 and len({claim.section for claim in LEDGER}) >= 6
    for claim in LEDGER:
        assert claim.command or claim.needs, claim.id
        assert re.search(r"\d", claim.found) or claim.needs, claim.id
        assert len(claim.quote.split()) <= claims.MOST_WORDS
    assert sum(claim.computed for claim in LEDGER) >= 25
    for name in (
        "total",
        "recall",
        "cap",
        "confidences",
        "empty-masks",
        "frozen",
        "nulled",
        "on-par",
        "confluent",
        "area",
    ):
        assert claims.find(name).computed, name


def test_quotations_are_words_of_the_draft_that_the_ledger_does_not_invent():
    assert len({claim.quote for claim in LEDGER if claim.quote}) > 25


def test_every_claim_is_in_the_figure():
    figure = plots.verdicts(claims.frame(), claims.VERDICTS)
    assert sum(bar.get_width() for bar in figure.axes[0].patches) == len(LEDGER)


def test_pages_and_commands_exist():
    pages = {page.stem for page in chapters()}
    targets = set(re.findall(r"^([a-z]+):", (root() / "Makefile").read_text(), re.M))
    for claim in LEDGER:
        assert claim.page in pages, claim.id
        if claim.label:
            assert claim.label in (root() / "book" / f"{claim.page}.md").read_text(), claim.id
        program, verb, *rest = shlex.split(claim.command) or ("", "")
        assert program in ("cellcount", "make", "python", ""), claim.id
        if program == "make":
            assert verb in targets, claim.id
        elif program == "python":
            assert (root() / verb).is_file(), claim.id
        elif not program:
            assert claim.needs, claim.id
        else:
            study = [verb, rest[0], "--help"]
            with pytest.raises(SystemExit) as stopped:
                main(study)
            assert stopped.value.code == 0, claim.id


def test_verdicts_follow_their_numbers(monkeypatch):
    recount = claims.recount.__wrapped__
    monkeypatch.setattr(claims, "_live", lambda: (5671.0, 5671.0))
    assert recount()[1] == "confirmed"
    monkeypatch.setattr(claims, "_live", lambda: (3916.0, 5671.0))
    assert recount()[1] == "corrected"


@pytest.mark.parametrize(
    "change",
    [
        {"verdict": "confirmed"}, {"rule": "absent"}, {"kind": "guess"}, {"quote": "a b c d e f g h i j k l m"},
        {"command": "", "needs": ""},
    ],
)  # fmt: skip
def test_an_incomplete_or_contradictory_claim_is_refused(change):
    entry = {
        "id": "x",
        "section": "1",
        "claim": "c",
        "kind": "causal",
        "done": "d",
        "page": "03-data",
        "command": "make test",
    }
    assert claims._claim(entry | {"rule": "recount"}).verdict in claims.VERDICTS
    with pytest.raises(DataError, match="claims.toml, x"):
        claims._claim(entry | {"rule": "recount"} | change)


def test_codecheck_and_crate_are_what_the_ledger_gives():
    for name, text in runpy.run_path(str(root() / "workflow" / "crate.py"))["WRITTEN"].items():
        assert (root() / name).read_text() == text(), f"{name}: make crate"
    entities = json.loads((root() / "ro-crate-metadata.json").read_text())["@graph"]
    known = {entity["@id"] for entity in entities}
    reviews = [entity for entity in entities if entity["@type"] == "ClaimReview"]
    assert len(reviews) == len(LEDGER)
    assert all(review[key]["@id"] in known for review in reviews for key in ("reviewRating", "itemReviewed", "about"))
    for file in known - {"./"}:
        assert ":" in file or file.startswith("#") or (root() / file).is_file(), file
