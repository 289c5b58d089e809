"""What training for all tasks shares. Fine-tuning: rows in, epochs on Ray Train, the best epoch out as a checkpoint.

A task brings a `Recipe` with its `Learner`s. Only `on_ray.py` and `on_tune.py` import Ray; runs, rows and exports know
nothing of it.
"""
