"""Fine-tuning for all tasks: read rows, train on Ray Train, and export the best epoch as a checkpoint.

Each task defines a `Recipe` with its `Learner`s. In this package only `on_ray.py` and `on_tune.py` import Ray.
"""
