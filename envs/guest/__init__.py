"""Services as guest executables of Service Fabric: application packages that carry a Python for Windows."""
