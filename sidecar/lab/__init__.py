"""Tools around the same engine: recorded sessions, replaying them, and the demonstration."""
