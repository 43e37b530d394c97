"""What a loop is doing: events, a live view, and a report at the end."""
