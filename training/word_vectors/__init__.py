"""Learns word vectors: a learner a model, engines that compute, and one loop."""
