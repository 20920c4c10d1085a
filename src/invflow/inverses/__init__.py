"""The sequential direction of an autoregressive transform, and its gradient."""
