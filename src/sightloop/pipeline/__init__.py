"""From images to a proven release: step declaration, cache, engines."""
