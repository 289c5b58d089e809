"""The Ray Serve graph: the only place that imports ray."""
