"""Using a trained model: a bundle is opened, recipes are drawn. Needs no torch."""
