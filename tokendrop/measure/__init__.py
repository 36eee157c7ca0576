"""What a pass cost and what it kept."""
