"""`python -m invflow`."""

from invflow.cli import main

main()
