"""Every finding: its code, thresholds, and the words that checks share."""
