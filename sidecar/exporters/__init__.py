"""What the ledger's decisions look like from outside: metrics, and later traces and the live page."""
