"""Files that are damaged by chance, and what is said of them."""
