"""A module and its inputs -> a Summary. Imports torch; nothing here prints or parses."""
