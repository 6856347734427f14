"""All tables of an audit, in their order: what the terminal and the page both show, in the same words."""

from collections.abc import Iterator
from datetime import UTC, datetime

from sidecar.lab.audit.costs import (
    compactions_section,
    cost_section,
    left_out_section,
    rereads_section,
    sub_agents_section,
    verdicts_section,
)
from sidecar.lab.audit.fillings import (
    components_section,
    fillings_section,
    largest_section,
    tallies_section,
    windows_section,
)
from sidecar.lab.audit.findings import Audit
from sidecar.lab.audit.layout import Section
from sidecar.lab.style import count

DAY = 86_400.0  # recordings without dates begin at 0


def heading(audit: Audit) -> str:
    """What was looked at, in a line."""
    agents = [window.agent for window in audit.windows if window.within is None]
    by_agent = ", ".join(f"{agent} {agents.count(agent):,}" for agent in dict.fromkeys(agents))
    began = [window.began for window in audit.windows if window.began and window.began > DAY]
    days = dict.fromkeys(_day(each) for each in (min(began), max(began))) if began else {}
    span = f" · {' to '.join(days)}" if days else ""
    windows = f"{count(len(audit.windows), 'window')} of {count(audit.sessions, 'session')}"
    return f"{windows} ({by_agent}) · {count(len({window.project for window in audit.windows}), 'project')}{span}"


def sections(audit: Audit, rows: int) -> Iterator[Section]:
    """All tables that have something to show, each with at most `rows` rows."""
    yield windows_section(audit, rows)
    yield fillings_section(audit, rows)
    yield components_section(audit)
    yield tallies_section(
        audit, rows, "origins", "What filled them", "source", "tools with their results, and all else"
    )
    for of, title, word in (
        ("servers", "MCP servers", "server"),
        ("files", "Files", "file"),
        ("skills", "Skills", "skill"),
    ):
        section = tallies_section(audit, rows, of, title, word, "")
        if section.rows:
            yield section
    yield largest_section(audit, rows)
    yield compactions_section(audit, rows)
    yield rereads_section(audit, rows)
    if any(window.within is not None for window in audit.windows):
        yield sub_agents_section(audit, rows)
    yield cost_section(audit)
    if audit.verdicts:
        yield verdicts_section(audit)
    if audit.unknown or audit.broken_lines or audit.foreign_files:
        yield left_out_section(audit, rows)


def _day(epoch: float) -> str:
    return datetime.fromtimestamp(epoch, UTC).strftime("%-d %b %Y")
