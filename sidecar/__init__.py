"""Token budget sidecar."""
