"""`demo`: a sidecar with an embedded journal, recorded sessions replayed to it, and where to look at the outcome.

Everything is real but the clock: the sidecar, its journal, its metrics, and the sizes, kinds and times of real agents'
sessions. Only their pauses are cut short.
"""
