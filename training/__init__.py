"""Drives a task: distribution, updates, evaluation, saving and resuming."""
