"""Looking into one network, with torch."""
