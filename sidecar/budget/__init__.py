"""The token budget itself: pure decisions over plain data, no input, no output, no clock."""
