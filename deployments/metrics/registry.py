"""The registry of this process's metrics, and the buckets of its histograms.

Metrics are kept in memory, where counting takes about a microsecond; `publish` passes them on. Label values come from
the configuration and the code, never from callers, so their number is bounded.
"""

from prometheus_client import CollectorRegistry

REGISTRY = CollectorRegistry()

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 60)
ITEMS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
TOKENS = (64, 256, 1_024, 2_048, 4_096, 8_192, 16_384, 32_768, 65_536)
