"""Dashboards, recording rules and alerts, as code: `python -m dashboards` writes what Grafana and Prometheus load.

- `promql`: the language; a metric or label that the catalogue does not have cannot be written
- `panels`, `house`: what every panel shares, and every dashboard
- `fleet`, `agent`, `objectives`, `sidecars`: a dashboard each, to grafana/*.json
- `service_levels`: the objectives, as data
- `recording`, `alerting`: rules, to prometheus/*.yaml; the tests of each file are beside it in prometheus/tests
"""

import warnings

# The SDK would like the second format of dashboards better, which Grafana reads from version 12 on only.
warnings.filterwarnings("ignore", message=r"Prefer using dashboardv2\.", category=DeprecationWarning)
