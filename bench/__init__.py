"""What capture costs and how fast it is, measured beside what else there is: see README.md, and __main__.py for the order."""
