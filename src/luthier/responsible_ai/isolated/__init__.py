"""The program that makes the dashboards: it runs in an environment of its own and imports nothing of Luthier."""
