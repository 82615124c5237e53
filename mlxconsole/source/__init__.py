"""Where the console's data comes from: live ranks, or a fake for tests and pictures."""
