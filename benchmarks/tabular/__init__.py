"""Tables, and the jobs that `benchmarks/tables.py` compares tools on."""
