"""Engines run the forward passes of models."""
