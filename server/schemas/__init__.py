"""Bodies of requests and results of answers, declared once: decoded, checked and documented from the same classes."""
