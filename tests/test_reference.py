"""The reference is what the code is: every setting, call, event, error, metric and command, and nothing else."""

import re

import pytest

from sidecar.config.load import SETTINGS
from sidecar.exporters.catalog import BY_NAME
from tests.reference import CHECKOUT, TABLES, written

# Not what other tools left in the tree, and no template of a document.
DOCUMENTS = sorted(
    path
    for folder in (".", "sidecar/**", "dashboards/**", "helm/**", "tests/**")
    for path in CHECKOUT.glob(f"{folder}/*.md")
    if not path.name.endswith(".in.md")
)


@pytest.mark.parametrize("path", TABLES)
def test_the_tables_of_the_reference_are_those_of_the_code(path):
    assert (CHECKOUT / path).read_text("utf-8") == written(path), "`make reference` writes them"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_no_document_names_a_metric_or_variable_that_is_not_there(document):
    """A series of a histogram has its suffix; the injector's metrics are its own; rules have a colon."""
    text = document.read_text("utf-8")
    named = {
        name
        for name in re.findall(r"\btoken_budget_[a-z_]*[a-z]\b(?![_*:{])", text)
        if not name.startswith("token_budget_injector_")
    }
    known = {*BY_NAME, *(f"{name}{end}" for name in BY_NAME for end in ("_bucket", "_count", "_sum"))}
    assert sorted(name for name in named - known if not any(each.startswith(f"{name}_") for each in BY_NAME)) == []
    variables = {name.lower() for name in re.findall(r"\bTOKEN_BUDGET_([A-Z_]*[A-Z])\b(?!_)", text)}
    around = {"url", "config", "recordings", "token_file", "ca_file", "client_certificate", "client_key"}
    assert sorted(variables - set(SETTINGS) - around) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_links_between_documents_lead_somewhere(document):
    """To a file that is there, and to a heading that it has."""
    text = re.sub(r"^```.*?^```", "", document.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target, _, anchor in (link.partition("#") for link in re.findall(r"\]\((?!https?:|mailto:)([^)\s]*)\)", text)):
        place = (document.parent / target).resolve() if target else document
        assert place.exists(), f"{target} is not there"
        if anchor and place.suffix == ".md":
            headings = re.findall(r"^#+ (.*)$", place.read_text("utf-8"), re.MULTILINE)
            assert anchor in {slug(heading) for heading in headings}, f"{target} has no heading #{anchor}"


def slug(heading):
    """The anchor that GitHub makes of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
