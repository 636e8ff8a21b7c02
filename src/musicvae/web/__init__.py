"""The playground: a page and a JSON API (docs/web.md); needs the `web` extra."""
