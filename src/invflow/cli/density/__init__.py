"""`invflow density`, and what `sample` and `score` do with its runs."""
