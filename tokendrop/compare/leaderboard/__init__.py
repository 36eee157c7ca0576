"""The leaderboard: points of many comparisons on one page, each with what made it."""
