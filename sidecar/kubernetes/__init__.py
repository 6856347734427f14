"""Beside every agent pod: the admission webhook that puts the sidecar into pods, and the image's health check.

What is put in is data, rendered by the chart from the same template that a chart of the user's own includes
(`injection.json`, read by `injection`). A pod's annotations say how it wants it (`annotations`), `patch` makes the JSON
patch, `admission` answers the API server, and `inject` is the server around it all.
"""

PREFIX = "token-budget.dev/"
CONTAINER = "token-budget-sidecar"
