"""The leaderboard for people: in a terminal, in a notebook, as one page that opens anywhere."""
