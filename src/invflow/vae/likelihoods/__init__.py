"""Likelihoods: distributions of grey levels or real numbers, given the decoder's output."""
