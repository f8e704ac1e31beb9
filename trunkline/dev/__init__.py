"""Embedded servers and supervised processes for one machine: the ground that `trunkline dev`, the tests and the benchmarks stand on."""
