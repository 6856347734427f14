"""Who may do what: tokens, certificates, and which requests a browser was talked into.

Nothing here knows what a request asks for. Receivers and the telemetry listener ask before they answer:

- `guard`: may this request be answered at all? Its host and origin, then its bearer token (`tokens`).
- `certificate`: what TLS is spoken with, and whose clients are let in.
- `web_config`, `basic_auth`: the same for the telemetry port, as Prometheus' exporters do it.

Whatever comes from a file is read again when the file changes (`files`), without a restart.
"""
