"""Environments, tasks, images and their options are declared here; apps are apart, and nothing runs."""
