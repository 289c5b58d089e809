"""What each process of the graph counts and measures, and how Prometheus gets it (docs/operations.md)."""
