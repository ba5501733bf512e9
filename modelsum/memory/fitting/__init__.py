"""The largest batch that fits into some memory: the search, the cards, and ways to fit more."""
