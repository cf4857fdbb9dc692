"""The commands of ``colony-pool``, one file each; ``app`` knows them all, ``exit_codes`` says how they end."""
