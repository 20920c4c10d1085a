"""Tables in files: CSV and its relatives, Parquet and NumPy's."""
