"""What an attached run is made of: an inbox and a subscription for each stream, a watch for cancel, its tasks."""
