"""The commands of ``colony-pool``, one file each. ``app`` lists them, ``exit_codes`` says how they end."""
