"""An audit as a page of its own: one file, no request, no script; whatever a transcript holds stays text.

Names in transcripts are hostile until proven otherwise. Everything that is shown goes through `escape`, and a content
security policy allows the page nothing but its own style sheet.
"""

from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from html import escape
from pathlib import Path

from sidecar.lab.audit.drawing import courses, legend, stack
from sidecar.lab.audit.findings import Audit
from sidecar.lab.audit.layout import Cell, Column, Section, Stack
from sidecar.lab.audit.sections import heading, sections
from sidecar.lab.audit.summary import joined, summary

FOOTER = (
    "Made offline from transcripts on this machine. Sizes are the provider's tokens, as near as its bills allow;"
    " a ~ marks an estimate."
)
CSS = Path(__file__).with_name("page.css")


def page(audit: Audit, *, rows: int) -> str:
    """The whole page, with tables of at most `rows` rows."""
    css = CSS.read_text(encoding="utf-8")
    digest = b64encode(sha256(css.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">\n<meta name="referrer" content="no-referrer">',
            f"<title>What filled the windows</title>\n<style>{css}</style>\n</head>\n<body>\n<main>",
            f'<header>\n<h1>What filled the windows</h1>\n<p class="looked">{escape(heading(audit))}</p>',
            *(f'<p class="said">{escape(joined(sentence))}</p>' for sentence in summary(audit)),
            "</header>",
            courses(audit.windows),
            *(_section(section) for section in sections(audit, rows)),
            f"<footer>{FOOTER}</footer>",
            "</main>\n</body>\n</html>\n",
        ]
    )


# --- tables ---------------------------------------------------------------------------------------------------------


def _section(section: Section) -> str:
    parts = [f"<section>\n<h2>{escape(section.title)}</h2>"]
    if section.note and section.rows:
        parts.append(f'<p class="note">{escape(section.note)}</p>')
    if section.rows:
        parts += _table(section)
    elif section.empty:
        parts.append(f'<p class="note">{escape(section.empty)}</p>')
    if section.facts:
        facts = "".join(
            f"<li{' class=detail' if fact.startswith(' ') else ''}>{escape(fact)}</li>" for fact in section.facts
        )
        parts.append(f'<ul class="facts">{facts}</ul>')
    if section.more > 0:
        parts.append(f'<p class="note">and {section.more:,} more</p>')
    if any(isinstance(cell, Stack) for row in section.rows for cell in row):
        parts.append(legend())
    return "\n".join([*parts, "</section>"])


def _table(section: Section) -> Iterator[str]:
    heads = "".join(
        f'<th scope="col" class="{column.align}">{escape(column.heading)}</th>' for column in section.columns
    )
    yield f'<div class="table"><table>\n<thead><tr>{heads}</tr></thead>\n<tbody>'
    for row in section.rows:
        yield f"<tr>{''.join(_cell(cell, column) for cell, column in zip(row, section.columns, strict=True))}</tr>"
    yield "</tbody></table></div>"


def _cell(cell: Cell, column: Column) -> str:
    if isinstance(cell, Stack):
        return f'<td class="bar">{stack(cell)}</td>'
    return f'<td class="{column.align}">{escape(joined(cell))}</td>'
