"""What the runs of a comparison gave: records, statistics, fronts."""
