"""Faces in pictures: found, cut out with margin, enlarged."""
