"""Use cases as plain Python calls: who is calling, in which session, what they may ask. Knows no wire protocol."""
