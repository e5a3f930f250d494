"""From a product's folder to immutable snapshot files and a published generation."""
