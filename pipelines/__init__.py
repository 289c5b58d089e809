"""Model code in plain Python: nothing here imports ray, save what trains or tunes."""
