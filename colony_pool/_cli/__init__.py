"""The commands of ``colony-pool``, one file each; ``app`` knows them all, ``exits`` says how they end."""
