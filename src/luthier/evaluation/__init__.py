"""How right, how sure: metrics with intervals, paired tests, plans, and the leaderboard's plain records."""
