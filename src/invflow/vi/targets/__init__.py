"""What a posterior is of: log densities of vectors, whatever they come from."""
