"""Statistical models of the review: who comes back, what they spend, when silence is silence."""
