"""The listening test: a page that plays clips without saying whose they are, and its answers (docs/listen.md)."""
