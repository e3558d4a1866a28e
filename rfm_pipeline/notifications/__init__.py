"""Messages to the team: alerts about failures, and sending each message at most once."""
