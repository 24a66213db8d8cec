"""A server of vectors and answers: two protocols over one compute thread."""
