"""Traces: what one request did in all processes, as spans for an OpenTelemetry collector (docs/operations.md)."""
