"""For tests of meshes: public."""
