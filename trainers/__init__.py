"""Nets that learn from the nouns. Shapes: (n, 3, h, w) images in [0, 1], (n, k, 2) pixels, (n, c) radians."""
