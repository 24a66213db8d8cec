"""The lineage, measured: every system on the same text, scored on the same tasks.

`stages.py` says what a stage is, `runner.py` runs stages, `experiments.py` is how an
experiment lists its stages and turns what they left into rows.
"""
