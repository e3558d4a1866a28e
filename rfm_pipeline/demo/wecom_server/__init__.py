"""A loopback WeCom server to try the product against: real HTTP, a real clock, faults on request."""
