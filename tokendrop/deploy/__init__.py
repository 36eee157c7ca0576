"""Models for engines that know neither packed batches nor this package: export, and the clock."""
