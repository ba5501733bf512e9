"""A language model that writes: its weights as they lie in memory, its cache, and the passes over both."""
