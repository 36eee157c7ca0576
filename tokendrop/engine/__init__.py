"""The packed engine: an unmodified encoder, walked layer by layer without any padding."""
