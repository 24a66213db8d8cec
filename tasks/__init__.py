"""What to learn: each task owns its examples, features, head, loss and metrics."""
