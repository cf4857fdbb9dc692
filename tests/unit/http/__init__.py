"""One request, one attempt, and whatever may come back."""
