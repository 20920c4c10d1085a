"""`invflow vae`, and what `sample` and `score` do with its runs."""
