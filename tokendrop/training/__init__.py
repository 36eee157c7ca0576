"""Training: the one LightningModule, and the stages of a recipe."""
