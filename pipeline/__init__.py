"""Where and when: which shards are wanted, which are missing, who makes them, and publishing the result."""
