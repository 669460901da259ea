"""The benchmark: greenroom beside what else there is, in one run, on one server. `make bench` runs it."""
