"""What a webhook answers, a file for each thing that it reaches."""
