"""The program that trains: it runs in an environment of its own and is never imported by Luthier."""
