"""What a task or its environment can be told, one noun a file: pure values, checked when they are made."""
