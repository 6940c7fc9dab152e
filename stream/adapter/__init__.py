"""Foreign topics of JSON in, impressions and clicks out, by a mapping file."""
