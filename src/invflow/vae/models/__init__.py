"""Models of images: the variational autoencoder, its posteriors and its priors."""
