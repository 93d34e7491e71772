"""A webhook's answers, in a file for each thing that it reaches."""
