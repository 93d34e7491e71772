"""What users declare, other than apps: environments, tasks, resources, retries. Nothing runs here."""
