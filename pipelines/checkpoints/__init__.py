"""The format of checkpoints on disk: import, verify, resolve.

A checkpoint is a folder that the library it came from still loads, with `manifest.json` beside its files.
"""
