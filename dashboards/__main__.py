"""`python -m dashboards`: write the dashboards and the rules that Grafana and Prometheus load.

What is written leads to other places: an alert to its runbook and its dashboard. `--runbooks` and `--grafana` say where
these are reached from; without them, alerts name the file in this repository and the path within Grafana.
"""

import argparse
import sys
from pathlib import Path

from dashboards.written import Places, written

HERE = Path(__file__).resolve().parent


def main(arguments: list[str] | None = None) -> int:
    """Write every file, and say which."""
    parser = argparse.ArgumentParser(prog="python -m dashboards", description="Write the dashboards, rules and alerts.")
    parser.add_argument(
        "--to", type=Path, default=HERE, metavar="FOLDER", help="where to (default: beside this program)"
    )
    parser.add_argument("--grafana", default="", metavar="URL", help="where Grafana is, for the alerts' dashboard_url")
    parser.add_argument(
        "--runbooks",
        default=Places().runbooks,
        metavar="URL",
        help="where runbooks.md is, for the alerts' runbook_url (default: %(default)s)",
    )
    options = parser.parse_args(arguments)
    for name, text in written(Places(grafana=options.grafana, runbooks=options.runbooks)).items():
        path = options.to / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
