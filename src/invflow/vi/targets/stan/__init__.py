"""Stan models as targets: programs, the data they read, and the engines that compile them."""
