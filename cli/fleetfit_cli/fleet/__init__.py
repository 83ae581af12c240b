"""What commands read from a cluster, and what they write there."""
