"""Classifiers on top of embeddings."""
