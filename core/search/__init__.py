"""From settings to a finished project."""
