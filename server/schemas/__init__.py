"""Bodies of requests and results of answers: decoded, checked and documented from the same classes."""
