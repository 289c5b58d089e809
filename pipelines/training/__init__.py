"""What fine-tuning of all tasks shares: rows in, epochs on Ray Train, the best epoch out as a checkpoint.

A task brings a `Recipe` with its `Learner`s. Only `on_ray.py` and `on_tune.py` import Ray; runs, rows and exports know
nothing of it.
"""
