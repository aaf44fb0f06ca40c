"""The benchmarks: a server process, contenders as a process each, workloads, and what is made of the figures."""
