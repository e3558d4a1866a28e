"""Where tags go: a file on this machine, or WeCom. A sink carries out tag changes and reports outcomes."""
