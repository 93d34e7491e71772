"""Manifests for KubeRay, made of environments. No effects here."""
