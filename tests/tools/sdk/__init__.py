"""colony-sdk's client and ours, call by call."""
