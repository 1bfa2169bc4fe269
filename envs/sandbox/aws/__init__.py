"""The emulated AWS account: the moto server and the behaviours it lacks."""
