"""What fine-tuning of all tasks shares: rows in, epochs on Ray Train, the best epoch out as a checkpoint.

A task brings a `Learner`. Only `on_ray.py` knows Ray; everything else runs in a bare interpreter.
"""
