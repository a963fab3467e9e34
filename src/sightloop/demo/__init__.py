"""The whole loop on one machine, shown on images that the demo renders."""
