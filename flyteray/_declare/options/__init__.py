"""Options of a task or its environment are pure values, checked when they are made; one noun a file."""
