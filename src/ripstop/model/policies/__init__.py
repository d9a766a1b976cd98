"""The policy kinds, a file each."""
