"""Made-up shops and servers to try the product on; no real customer is in them."""
