"""Gene sets against a map: clusters, enrichment, neighbors."""
