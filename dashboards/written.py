"""What the builders come to, as the text of files: the one list of everything that is written."""

from dataclasses import dataclass
from typing import Any, Final

import promql_parser
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder

from dashboards import agent, alerting, fleet, objectives, recording, sidecars
from dashboards.house import UIDS

DASHBOARDS: Final = {
    "fleet": fleet.build,
    "agent": agent.build,
    "objectives": objectives.build,
    "sidecar": sidecars.build,
}
NOTE: Final = "# Written by `python -m dashboards`.\n"


@dataclass(frozen=True, slots=True)
class Places:
    """Where an alert's reader finds Grafana and the runbooks, as prefixes of the links."""

    grafana: str = ""
    runbooks: str = "dashboards/runbooks.md"

    def runbook(self, alert: str) -> str:
        """The section of an alert."""
        return f"{self.runbooks}#{alert.lower()}"

    def dashboard(self, of: alerting.Alert) -> str:
        """The dashboard of an alert, showing what its labels name."""
        labels = ("agent",) if "$labels.agent" in of.summary else ()
        query = "&".join(f"var-{label}={{{{ $labels.{label} | urlquery }}}}" for label in labels)
        return f"{self.grafana.rstrip('/')}/d/{UIDS[of.dashboard]}" + (f"?{query}" if query else "")


def written(places: Places | None = None) -> dict[str, str]:
    """The text of every file that is built, by its path within this folder."""
    places = places or Places()
    files = {}
    for name, build in DASHBOARDS.items():
        files[f"grafana/{name}.json"] = JSONEncoder(indent=2, sort_keys=True, ensure_ascii=False).encode(build()) + "\n"
    for topic, alerts in alerting.topics().items():
        rules = [_recording(each) for each in recording.topics().get(topic, ())] + [
            _alert(each, places) for each in alerts
        ]
        files[f"prometheus/{topic}.yaml"] = _yaml({"groups": [{"name": f"token-budget-{topic}", "rules": rules}]})
    return files


def _recording(rule: recording.Recording) -> dict[str, Any]:
    return {"record": rule.record, "expr": _pretty(rule.expression)}


def _alert(alert: alerting.Alert, places: Places) -> dict[str, Any]:
    rule: dict[str, Any] = {"alert": alert.name, "expr": _pretty(alert.expression)}
    if alert.waits:
        rule["for"] = alert.waits
    rule["labels"] = {"severity": alert.severity, **dict(alert.labels)}
    rule["annotations"] = {
        "summary": alert.summary,
        "description": alert.description,
        "runbook_url": places.runbook(alert.name),
        "dashboard_url": places.dashboard(alert),
    }
    return rule


def _pretty(expression: str) -> str:
    """An expression over several lines where it is long; to write it also proves that it is one."""
    return str(promql_parser.parse(expression).prettify())


class _Dumper(yaml.SafeDumper):
    """Keeps the order of keys, and shows text of several lines as such."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def _yaml(document: Any) -> str:
    return NOTE + yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=1000, allow_unicode=True)
