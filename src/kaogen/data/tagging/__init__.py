"""What a face shows, by whoever says so; and which tags are worth learning."""
