"""What the ledger's decisions look like from outside: metrics, traces, the live page; and the tee."""
