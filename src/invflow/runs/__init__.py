"""A run on disk and its settings, once for all jobs."""
