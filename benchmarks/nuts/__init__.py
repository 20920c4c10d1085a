"""Models for `versus_nuts.py`: data here, and each model for PyMC and for NumPyro."""
