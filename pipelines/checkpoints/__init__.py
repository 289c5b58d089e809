"""Import, verify, trim and find checkpoints.

A checkpoint is a folder with a `manifest.json`. The library that the model came from can still load the folder.
"""
