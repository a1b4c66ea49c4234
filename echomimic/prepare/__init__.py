"""Folders of videos → clips to train on (training facts 5.8)."""
