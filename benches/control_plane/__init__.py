"""What the control plane costs as the mesh grows."""
