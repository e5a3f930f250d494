"""Measures the server beside its yardsticks. Never imported by the package; ``python -m benchmarks.run`` runs it."""
