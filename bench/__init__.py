"""What is claimed about speed and memory, as programs that print it: `make bench`, `make bench QUICK=1`."""
